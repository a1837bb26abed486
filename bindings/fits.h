/* fits.h - does the libwaitgroup that this process has fit the module that asks?
 *
 * The dynamic linker gives a process one library of a name: that of whichever module came first, perhaps from elsewhere
 * and older. The modules refer to its calls weakly (see waitgroup_link_core), so that one that lacks a call loads all the
 * same; they ask here before they call anything else. This is compiled into each module, since it asks about the library. */
#ifndef WG_FITS_H
#define WG_FITS_H

#ifndef _GNU_SOURCE
#error "dladdr needs _GNU_SOURCE, before the first header"
#endif
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <waitgroup.h>

/* The file that holds `code`, for people. */
static inline const char *wg_file_of(const void *code) {
    Dl_info info;
    return dladdr(code, &info) && info.dli_fname ? info.dli_fname : "a file without a name";
}

/* While the version is 0.x, its second number counts incompatible changes. */
static inline int wg_incompatible_changes(int version) { return version / (version < 10000 ? 100 : 10000); }

/* If the library does not fit the headers that the caller was compiled with, false, and `why` says so. */
static inline bool wg_fits(char *why, size_t size) {
    static const char here = 0;           /* in the file of the caller */
    int (*ask)(void) = wg_version_number; /* NULL: from before there was this call */
    int number = ask ? ask() : 0;
    if (number >= WG_VERSION_NUMBER && wg_incompatible_changes(number) == wg_incompatible_changes(WG_VERSION_NUMBER))
        return true;
    snprintf(
        why, size,
        "%s was built for libwaitgroup %s, and this process has loaded libwaitgroup %s, %s: install the same version "
        "of all that use it",
        wg_file_of(&here), WG_VERSION, wg_version(), wg_file_of((const void *)(uintptr_t)wg_version));
    return false;
}

#endif
