"""What cannot be copied or pickled, among the classes that are written in Python."""

from typing import Any, NoReturn


class Uncopied:
    """Refuses, in the words in which the types that are written in C do."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"cannot pickle 'cwaitgroup.{type(self).__name__}' object: it cannot be copied or sent to another process; "
            "share the object itself between threads, or make a new one"
        )
