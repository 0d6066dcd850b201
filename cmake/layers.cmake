# Compiler flags, dependencies and the one function that declares a layer.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_compile_options(
  -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wformat=2 -fno-common -fstack-protector-strong)
# 32-bit Pis too count time beyond 2038; no library here has a time or an offset in its interface.
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 _TIME_BITS=64
                        COVEY_VERSION="${PROJECT_VERSION}")
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # Assertions stay in: they guard invariants of a daemon that holds addresses.
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
if(COVEY_SANITIZE)
  add_compile_options(-fsanitize=${COVEY_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${COVEY_SANITIZE})
endif()
if(COVEY_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# Debian 12 calls msgpack's pkg-config file "msgpack", Debian 13 "msgpack-c".
pkg_search_module(MSGPACK REQUIRED IMPORTED_TARGET msgpack-c msgpack)
# Debian 13's file names its headers by a path that is relative to nothing; they lie in the
# compiler's own.
get_target_property(msgpack_headers PkgConfig::MSGPACK INTERFACE_INCLUDE_DIRECTORIES)
list(FILTER msgpack_headers INCLUDE REGEX "^/")
set_target_properties(PkgConfig::MSGPACK PROPERTIES INTERFACE_INCLUDE_DIRECTORIES
                                                   "${msgpack_headers}")
foreach(dependency IN ITEMS libuv libsodium sqlite3 yaml-0.1 jansson libmnl libmicrohttpd
                         librabbitmq libcurl libseccomp)
  string(REGEX REPLACE "^lib|-.*" "" name ${dependency})
  string(TOUPPER ${name} upper)
  pkg_check_modules(${upper} REQUIRED IMPORTED_TARGET ${dependency})
endforeach()

# covey_layer(NAME SOURCES file... LINKS target...)
# One static library per layer. LINKS is the whole list of what the layer may use: layers stand in
# the order base, wire, member | record | lease, desired, core, io, store, and a layer links only
# what stands left of it (tests/check_layers.sh holds the includes against the same order).
function(covey_layer name)
  cmake_parse_arguments(LAYER "" "" "SOURCES;LINKS" ${ARGN})
  add_library(covey_${name} STATIC ${LAYER_SOURCES})
  target_include_directories(covey_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(covey_${name} PUBLIC ${LAYER_LINKS})
endfunction()
