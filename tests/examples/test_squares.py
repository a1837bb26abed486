def test_prints_285(example):
    ran = example("squares")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("285\n", "", 0)
