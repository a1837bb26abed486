# Another system by the compiler of PyPI's `ziglang`, which has the headers and libraries of many: ZIG_TARGET is such as
# aarch64-macos, and ZIG_PYTHON the interpreter that has the package. Nothing here runs what it makes.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG_TARGET ZIG_PYTHON)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR ${ZIG_TARGET})
set(CMAKE_SYSTEM_NAME Linux)
if(ZIG_TARGET MATCHES "macos")
    set(CMAKE_SYSTEM_NAME Darwin)
elseif(ZIG_TARGET MATCHES "windows")
    set(CMAKE_SYSTEM_NAME Windows)
endif()
set(zig "\"${ZIG_PYTHON}\" -m ziglang")
set(CMAKE_INSTALL_NAME_TOOL true) # nothing is installed from here
set(CMAKE_C_COMPILER ${ZIG_PYTHON})
set(CMAKE_C_COMPILER_ARG1 "-m ziglang cc -target ${ZIG_TARGET}")
set(CMAKE_C_ARCHIVE_CREATE "${zig} ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_APPEND "${zig} ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "${zig} ranlib <TARGET>")
