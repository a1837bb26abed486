# Turns the comments of the public headers into those that Doxygen reads: the first one describes the file, one above a
# declaration all declarations up to the next empty line, one behind a field the field.
NR == 1 { sub(/^\/\* [a-z_]+\.h - /, "/** @file\n * "); print; next }
/^\/\*/ { comment = ""; inside = 1; first = 1 }
inside {
    line = $0
    sub(/^\/\*/, "/**", line)
    comment = comment line "\n"
    if (/\*\/$/) inside = 0
    next
}
/^$/ { comment = "" }
/^(WG_API|typedef|#define) / && comment != "" { printf "%s", comment }
/^    .*[;,A-Z] +\/\*/ { sub(/\/\*/, "/**<") }
{ print }
