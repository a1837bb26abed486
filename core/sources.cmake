# The sources of the core, in the one place that says which they are. WAITGROUP_PARK and WAITGROUP_SIGNAL say how it
# sleeps and how it makes a descriptor readable; the simulator takes neither, and is itself the operating system.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    set(native_park futex)
    set(native_signal eventfd)
    set(system posix)
    set(WAITGROUP_SYSTEM_LIBRARIES Threads::Threads)
elseif(WIN32)
    set(native_park windows)
    set(native_signal none)
    set(system windows)
    set(WAITGROUP_SYSTEM_LIBRARIES synchronization) # WaitOnAddress
else()
    set(native_park pthread)
    set(native_signal pipe)
    set(system posix)
    set(WAITGROUP_SYSTEM_LIBRARIES Threads::Threads)
endif()
set(WAITGROUP_PARK ${native_park} CACHE STRING "How threads sleep: a file of core/src/park")
set(WAITGROUP_SIGNAL ${native_signal} CACHE STRING "How a descriptor is made readable: eventfd, pipe or none")

set(core ${CMAKE_CURRENT_LIST_DIR})
file(GLOB WAITGROUP_SOURCES CONFIGURE_DEPENDS ${core}/src/*.c)
list(FILTER WAITGROUP_SOURCES EXCLUDE REGEX "/(os|signal)_[a-z]+[.]c$")
set(WAITGROUP_SYSTEM_SOURCES ${core}/src/os_common.c ${core}/src/os_${system}.c ${core}/src/signal_${WAITGROUP_SIGNAL}.c
    ${core}/src/park/${WAITGROUP_PARK}.c)
