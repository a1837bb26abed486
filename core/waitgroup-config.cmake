# For find_package(waitgroup): the targets waitgroup::waitgroup (shared) and waitgroup::static.
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/waitgroup-targets.cmake)
