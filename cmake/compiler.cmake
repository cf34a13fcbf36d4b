# The language, the warnings and the flags of each build type.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

add_compile_options(-Wall -Wextra -Wshadow -Wundef -Wmissing-prototypes -Werror
                    -fno-strict-aliasing)
add_compile_definitions(_GNU_SOURCE)
include_directories(${CMAKE_SOURCE_DIR})
add_link_options(LINKER:--as-needed)

if(GNOMON_SANITIZE)
    add_compile_options(-fsanitize=${GNOMON_SANITIZE} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${GNOMON_SANITIZE})
endif()
if(GNOMON_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Link-time optimization is for the program. The objects hold plain code too, so that the many
# small test programs link fast (-fno-lto there).
set(GNOMON_LTO OFF)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT GNOMON_CROSS)
    set(GNOMON_LTO ON)
    add_compile_options($<$<COMPILE_LANGUAGE:C>:-flto=auto> -ffat-lto-objects)
    set(CMAKE_AR gcc-ar)
    set(CMAKE_RANLIB gcc-ranlib)
endif()
