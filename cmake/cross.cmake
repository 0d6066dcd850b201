# Toolchain of the presets armhf and arm64. Compilers and the folder with the target's libraries come
# from provisioning/sysroot.sh, which the presets' users run once; programs run through qemu, so that
# ctest works as it does natively.

set(CMAKE_SYSTEM_NAME Linux)
if(COVEY_TARGET STREQUAL "armhf")
  set(CMAKE_SYSTEM_PROCESSOR armv7l)
  set(COVEY_TRIPLET arm-linux-gnueabihf)
  set(emulator qemu-arm-static)
elseif(COVEY_TARGET STREQUAL "arm64")
  set(CMAKE_SYSTEM_PROCESSOR aarch64)
  set(COVEY_TRIPLET aarch64-linux-gnu)
  set(emulator qemu-aarch64-static)
else()
  message(FATAL_ERROR "COVEY_TARGET is \"${COVEY_TARGET}\"; expected armhf or arm64")
endif()
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES COVEY_TARGET)

get_filename_component(root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(CMAKE_SYSROOT ${root}/build/sysroot/${COVEY_TARGET})
if(NOT EXISTS ${CMAKE_SYSROOT}/usr/include/uv.h)
  message(FATAL_ERROR "no libraries for ${COVEY_TARGET} in ${CMAKE_SYSROOT}: "
                      "run provisioning/sysroot.sh ${COVEY_TARGET} first")
endif()
set(CMAKE_C_COMPILER ${COVEY_TRIPLET}-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR ${emulator};-L;${CMAKE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
    ${CMAKE_SYSROOT}/usr/lib/${COVEY_TRIPLET}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
