/* message.h - Lua values as bytes: what states give each other.
 *
 * A value is a tag and what follows it; all numbers are in the order of the machine, for nothing leaves the process.
 *
 *   NIL FALSE TRUE
 *   INTEGER   8 bytes                    FLOAT     8 bytes
 *   SMALL     1 byte: 0..255             STRING    u32 length, bytes
 *   LIGHT     8 bytes: the pointer of a light userdata
 *   TABLE     u32 n, u32 m, the values 1..n, then m pairs of key and value
 *   CLASSED   the same, then the metatable
 *   COPIED    u32 n, n values: a function and its arguments, or a module, the name of its function and the arguments, as
 *             __copy gave them: calling it gives the value
 *   FUNCTION  u32 length, binary chunk, upvalues
 *   BLOB      upvalues: the function that a task runs, whose code is in the blob that goes with the message
 *   MODULE    u8 n, n pairs of strings: its names, each with an empty one: what `require` gives for the first that works
 *   FIELD     8 bytes: a C function, then as of MODULE, with the names that the function has in the modules
 *   STANDARD  8 bytes: a pointer to a wgl_standard
 *   OWN       a string: the name of a function of this library
 *   LOADER    8 bytes: a pointer to a C function
 *   OBJECT    u32 index among the message's objects
 *   SAME      u32 offset: the table, function or copied value whose tag is there; that tag has the bit SHARED
 *
 * Upvalues: u8 count, each one a value, or ENVIRONMENT: the globals of the receiver, or JOIN, u32 offset, u8 n: the same
 * variable as upvalue n of the function there. */
#ifndef WGL_MESSAGE_H
#define WGL_MESSAGE_H

#include "wgl.h"

enum wgl_tag {
    NIL,
    FALSE,
    TRUE,
    INTEGER,
    SMALL,
    FLOAT,
    STRING,
    LIGHT,
    STANDARD,
    OWN,
    LOADER,
    OBJECT,
    SAME,
    TABLE, /* those from here on want room on the stack */
    CLASSED,
    COPIED,
    FUNCTION,
    BLOB,
    MODULE,
    FIELD,
    ENVIRONMENT,
    JOIN,
    SHARED = 0x80
};

#endif
