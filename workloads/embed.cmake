# Writes the bytes of SOURCE as a C array named SYMBOL to OUTPUT.
file(READ ${SOURCE} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR length "${digits} / 2")
string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${OUTPUT}
  "#include <stddef.h>\n\n"
  "extern const char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n\n"
  "const char ${SYMBOL}[] = {${bytes}};\nconst size_t ${SYMBOL}_len = ${length};\n")
