/* tree.h - the files of a directory tree, and their lines in the format of sha256sum. */
#ifndef TREE_H
#define TREE_H

#include <stddef.h>

typedef struct tree_file {
    char *path;
    unsigned char digest[32];
    int error; /* errno of what went wrong with this file, or 0 */
} tree_file;

/* All files below `dir`, sorted by path; hidden files and directories are left out, links to files are in. Stores how
 * many in `count`. NULL with errno set if the tree cannot be walked. Free with tree_free. */
tree_file *tree_list(const char *dir, size_t *count);
void tree_free(tree_file *files, size_t count);

/* Print the line of `file` on stdout. */
void tree_print(const tree_file *file);

#endif
