from cwaitgroup import current_context

found = []
for n in range(2, 2000):
    current_context().check()
    if all(n % p for p in found):
        found.append(n)
print(f"python: {len(found)} primes below 2000", flush=True)
