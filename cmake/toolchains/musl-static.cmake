# The same, for programs that contain all of their libraries.
include(${CMAKE_CURRENT_LIST_DIR}/musl.cmake)
set(CMAKE_EXE_LINKER_FLAGS_RELWITHDEBINFO_INIT -static)
