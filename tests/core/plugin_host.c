/* Load the plugin named, have it work, unload it, and wait until the threads that it left behind are gone. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

static int threads_now(void) {
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    if (!d)
        return 1;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 1;
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        puts(dlerror());
        return 2;
    }
    int (*work)(void) = (int (*)(void))dlsym(plugin, "work");
    if (!work || work() != 0)
        return 3;
    dlclose(plugin);
    while (threads_now() > 1)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return 0;
}
