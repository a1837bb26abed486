/* tree.c - see tree.h. */
#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct {
    tree_file *files;
    size_t count, room;
} list; /* nftw passes no argument through */

static int visit(const char *path, const struct stat *entry, int type, struct FTW *walk) {
    struct stat target;
    if (walk->level > 0 && path[walk->base] == '.')
        return FTW_SKIP_SUBTREE;
    if (type == FTW_DNR)
        return FTW_STOP;
    if (type == FTW_SL ? stat(path, &target) == 0 && !S_ISREG(target.st_mode) : !S_ISREG(entry->st_mode))
        return FTW_CONTINUE;
    if (list.count == list.room) {
        size_t room = list.room ? 2 * list.room : 64;
        tree_file *files = realloc(list.files, room * sizeof *files);
        if (!files)
            return FTW_STOP;
        list.files = files;
        list.room = room;
    }
    list.files[list.count] = (tree_file){.path = strdup(path)};
    return list.files[list.count++].path ? FTW_CONTINUE : FTW_STOP;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const tree_file *)a)->path, ((const tree_file *)b)->path);
}

tree_file *tree_list(const char *dir, size_t *count) {
    list.files = calloc(1, sizeof *list.files);
    list.room = 1;
    list.count = 0;
    if (!list.files)
        return NULL;
    if (nftw(dir, visit, 32, FTW_PHYS | FTW_ACTIONRETVAL) != 0) {
        int error = errno;
        tree_free(list.files, list.count);
        errno = error;
        return NULL;
    }
    qsort(list.files, list.count, sizeof *list.files, by_path);
    *count = list.count;
    return list.files;
}

void tree_free(tree_file *files, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(files[i].path);
    free(files);
}

void tree_print(const tree_file *file) {
    /* As sha256sum does: a name with a backslash or an end of line is escaped, and its line starts with a backslash. */
    if (strpbrk(file->path, "\\\n\r"))
        putchar('\\');
    for (size_t i = 0; i < sizeof file->digest; i++)
        printf("%02x", file->digest[i]);
    fputs("  ", stdout);
    for (const char *c = file->path; *c; c++)
        fputs(*c == '\\' ? "\\\\" : *c == '\n' ? "\\n" : *c == '\r' ? "\\r" : (char[]){*c, 0}, stdout);
    putchar('\n');
}
