# cmake -DOUT=assets.c "-DFILES=a.css;b.js" -P embed.cmake
# Writes the files as the table of assets that agent/web/page_parts.h declares.
set(types_css "text/css; charset=utf-8")
set(types_js "text/javascript; charset=utf-8")
set(types_svg "image/svg+xml")
set(text "/* Made by agent/web/embed.cmake from agent/web/assets. */\n")
string(APPEND text "#include \"agent/web/page_parts.h\"\n\n")
set(table "const struct page_asset page_assets[] = {\n")
set(count 0)
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  get_filename_component(extension "${file}" LAST_EXT)
  string(SUBSTRING "${extension}" 1 -1 extension) # without the dot
  if(NOT DEFINED types_${extension})
    message(FATAL_ERROR "${name}: its content type is not known")
  endif()
  file(SIZE "${file}" size)
  file(SHA256 "${file}" hash)
  string(SUBSTRING "${hash}" 0 16 hash)
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND text "static const char data_${count}[] = {${bytes}};\n"
         "static const char *const headers_${count}[] = {\n"
         "    \"ETag\", \"\\\"${hash}\\\"\", \"Cache-Control\", \"no-cache\", NULL};\n")
  string(APPEND table "    {\"/${name}\", \"${types_${extension}}\", data_${count}, ${size}, "
         "\"\\\"${hash}\\\"\", headers_${count}},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE "${OUT}" "${text}\n${table}};\n\nconst size_t page_asset_count = ${count};\n")
