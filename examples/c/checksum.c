/* checksum.c - SHA-256 of every file of a directory tree, in parallel, in the format of sha256sum.
 *
 *     checksum [DIR]      default: the working directory; hidden files and directories are left out
 *
 * Stops at the first file that cannot be read: its name on stderr, exit status 1. Ctrl-C: exit status 130. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <waitgroup.h>

#include "tree.h"

/* The task: hash one file, and look now and then whether that is still wanted. */
static wg_error *hash(void *arg, wg_context *ctx) {
    tree_file *file = arg;
    unsigned char buffer[1 << 16];
    size_t n;
    FILE *in = fopen(file->path, "rb");
    if (!in) {
        file->error = errno;
        return wg_error_new(WG_ERROR_FAILURE, file, NULL);
    }
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    EVP_DigestInit_ex(sha, EVP_sha256(), NULL);
    while (wg_context_status(ctx) == WG_OK && (n = fread(buffer, 1, sizeof buffer, in)) > 0)
        EVP_DigestUpdate(sha, buffer, n);
    EVP_DigestFinal_ex(sha, file->digest, NULL);
    EVP_MD_CTX_free(sha);
    if (ferror(in))
        file->error = errno;
    fclose(in);
    return file->error ? wg_error_new(WG_ERROR_FAILURE, file, NULL) : wg_context_error(ctx);
}

/* Ctrl-C cancels the group; whoever is blocked in go or wait wakes by itself. */
static volatile sig_atomic_t interrupted;

static void *watch_for_sigint(void *group) {
    sigset_t sigint;
    int signal;
    sigemptyset(&sigint);
    sigaddset(&sigint, SIGINT);
    sigwait(&sigint, &signal);
    interrupted = 1;
    wg_errgroup_cancel(group, NULL);
    return NULL;
}

static void show_progress(wg_errgroup *g, size_t count) {
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%lu of %zu files", wg_errgroup_get_counts(g).completed, count);
}

int main(int argc, char **argv) {
    const char *dir = argc > 1 ? argv[1] : ".";
    size_t count;
    tree_file *files = tree_list(dir, &count);
    if (!files) {
        fprintf(stderr, "checksum: %s: %s\n", dir, strerror(errno));
        return 1;
    }
    sigset_t sigint;
    sigemptyset(&sigint);
    sigaddset(&sigint, SIGINT);
    pthread_sigmask(SIG_BLOCK, &sigint, NULL); /* in the threads to come too, so that only the watcher gets it */

    wg_errgroup *g;
    pthread_t watcher;
    wg_status status = wg_errgroup_new(&g, &(wg_errgroup_options){.limit = 2 * (int)sysconf(_SC_NPROCESSORS_ONLN)});
    if (status != WG_OK || pthread_create(&watcher, NULL, watch_for_sigint, wg_errgroup_retain(g)) != 0) {
        fprintf(stderr, "checksum: cannot start: %s\n", wg_strstatus(status));
        return 1;
    }

    wg_status submitted = WG_OK;
    for (size_t i = 0; i < count && submitted == WG_OK; i++) {
        submitted = wg_errgroup_go(g, hash, &files[i], NULL, NULL);
        show_progress(g, count);
    }
    wg_error *first;
    status = wg_errgroup_wait(g, NULL, &first);
    show_progress(g, count);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);

    if (interrupted)
        return 130;
    if (status == WG_FAILED) {
        const tree_file *bad = wg_error_value(first);
        fprintf(stderr, "checksum: %s: %s\n", bad->path, strerror(bad->error));
        return 1;
    }
    if (submitted != WG_OK) {
        fprintf(stderr, "checksum: %s\n", wg_strstatus(submitted));
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        tree_print(&files[i]);
    wg_errgroup_release(g);
    tree_free(files, count);
    return 0;
}
