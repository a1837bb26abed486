"""Ten tasks fill ten slots of their own, so there is nothing to lock; leaving the block waits; then the sum."""

from cwaitgroup import WaitGroup

slots = [0] * 10


def square(number: int) -> None:
    slots[number] = number * number


with WaitGroup() as wg:
    for number in range(10):
        wg.go(square, number)

print(sum(slots))
