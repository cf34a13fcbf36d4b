# Everything that ctest runs. Labels: unit, lint, guest, diff, model, boot, bench, fuzz. What check
# leaves out somewhere has a second one: full, policy (tests/guest/CMakeLists.txt), single.
#
#   tests/unit/<layer>/<file>_test.c   one program each, linked only to what that layer may use
#   tests/fuzz/<name>_fuzz.c           one harness each; preset fuzz fuzzes, the others replay
#                                      tests/fuzz/corpus/<name>/
#   tests/{lint,guest,diff,decode,model,boot,bench}/CMakeLists.txt   add their own tests

# The environment of every test; long matrices ask for GNOMON_FULL=1, which passes through.
set(GNOMON_TEST_ENVIRONMENT
    "GNOMON_SOURCE=${CMAKE_SOURCE_DIR}"
    "GNOMON_BINARY=${CMAKE_BINARY_DIR}/gnomon"
    "CK_DEFAULT_TIMEOUT=600"
    "ASAN_OPTIONS=abort_on_error=0:allocator_may_return_null=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# gnomon_test(<name> LABEL <label> [TIMEOUT <seconds>] [SERIAL] COMMAND <command...>)
function(gnomon_test name)
    cmake_parse_arguments(PARSE_ARGV 1 test "SERIAL" "LABEL;TIMEOUT" "COMMAND")
    if(NOT test_TIMEOUT)
        set(test_TIMEOUT 900)
    endif()
    add_test(NAME ${name} COMMAND ${test_COMMAND} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES
        LABELS "${test_LABEL}" TIMEOUT ${test_TIMEOUT} SKIP_RETURN_CODE 77
        ENVIRONMENT "${GNOMON_TEST_ENVIRONMENT}")
    if(test_SERIAL)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

# gnomon_test_program(<target> <source> LIBRARIES <libraries...>): plain code, quick to link.
function(gnomon_test_program target source)
    cmake_parse_arguments(PARSE_ARGV 2 program "" "" "LIBRARIES")
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE ${program_LIBRARIES})
    if(GNOMON_LTO)
        target_compile_options(${target} PRIVATE -fno-lto)
        target_link_options(${target} PRIVATE -fno-lto)
    endif()
endfunction()

# Cross builds run their tests in the user-mode emulator of the preset, if it is installed; unit
# tests on a stand-in for the library check. Those that take long there have the label full, too.
if(GNOMON_CROSS)
    find_program(emulator "${GNOMON_EMULATOR}")
    if(emulator)
        set(CMAKE_CROSSCOMPILING_EMULATOR ${emulator})
        add_library(portable_check STATIC ${CMAKE_SOURCE_DIR}/tests/portable/check.c)
        target_include_directories(portable_check PUBLIC ${CMAKE_SOURCE_DIR}/tests/portable)
        set(unit_libraries portable_check -static)
    endif()
elseif(NOT GNOMON_FUZZ)
    pkg_check_modules(check REQUIRED IMPORTED_TARGET check)
    set(unit_libraries PkgConfig::check Threads::Threads)
endif()

# Programs of one thread that take long with the thread sanitizer, which has nothing to see in them.
# They have the label single, too.
set(unit_single avx512 inspect p2m p2m_same pit snapshot softfloat)

# Of the layer machine. Some compress, which takes libraries; some have guests in assembler; what the
# crew does depends on the host's threads, not on its processor.
set(unit_without_cross crew crew_debug decompress loader_linux)
set(unit_with_guests machine processors report snapshot)
if(GNOMON_CROSS)
    find_program(GUEST_CC NAMES x86_64-linux-gnu-gcc gcc)
    if(GUEST_CC AND CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "x86_64")
        enable_language(ASM)
        set(guests ${CMAKE_BINARY_DIR}/guests.S)
        add_custom_command(OUTPUT ${guests}
            COMMAND ${CMAKE_SOURCE_DIR}/tests/portable/guests.sh ${GUEST_CC} ${CMAKE_SOURCE_DIR}
                    ${guests}
            DEPENDS ${CMAKE_SOURCE_DIR}/tests/portable/guests.sh
                    ${CMAKE_SOURCE_DIR}/tests/unit/machine/guests.h
            COMMENT "Assembling the guests of the machine's tests" VERBATIM)
        add_library(portable_guests STATIC ${guests})
        set_target_properties(portable_guests PROPERTIES LINKER_LANGUAGE C)
    else()
        list(APPEND unit_without_cross ${unit_with_guests})
    endif()
endif()

# Several vCPUs at once: the rig of unit/mmu/parallel.
if(unit_libraries)
    add_library(mmu_parallel STATIC ${CMAKE_SOURCE_DIR}/tests/mmu/parallel.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/parallel_acts.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/parallel_code.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/parallel_oracle.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/parallel_owner.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/parallel_world.c)
    target_link_libraries(mmu_parallel PUBLIC gnomon_mmu)
    if(GNOMON_LTO)
        target_compile_options(mmu_parallel PRIVATE -fno-lto)
    endif()
endif()

if(unit_libraries)
    file(GLOB unit_tests CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/tests/unit
         ${CMAKE_SOURCE_DIR}/tests/unit/*/*_test.c)
    foreach(file IN LISTS unit_tests)
        string(REGEX MATCH "^([^/]+)/(.+)_test\\.c$" matched ${file})
        set(layer ${CMAKE_MATCH_1})
        set(subject ${CMAKE_MATCH_2})
        if(GNOMON_CROSS AND subject IN_LIST unit_without_cross)
            continue()
        endif()
        if(TARGET gnomon_${layer})
            gnomon_test_program(unit_${layer}_${subject} ${CMAKE_SOURCE_DIR}/tests/unit/${file}
                                LIBRARIES gnomon_${layer} ${unit_libraries})
            set(label unit)
            if(GNOMON_CROSS AND (layer MATCHES "devices|machine" OR subject STREQUAL "parallel"))
                list(APPEND label full)
            endif()
            if(subject IN_LIST unit_single)
                list(APPEND label single)
            endif()
            gnomon_test(unit/${layer}/${subject} LABEL "${label}"
                        COMMAND unit_${layer}_${subject})
            if(subject STREQUAL "parallel")
                target_link_libraries(unit_mmu_parallel PRIVATE mmu_parallel)
                if(GNOMON_CROSS)
                    set_property(TEST unit/mmu/parallel APPEND PROPERTY
                                 ENVIRONMENT GNOMON_STEPS=3000)
                elseif(NOT GNOMON_SANITIZE STREQUAL "")
                    set_property(TEST unit/mmu/parallel APPEND PROPERTY
                                 ENVIRONMENT GNOMON_STEPS=10000)
                endif()
            endif()
            if(TARGET portable_guests AND subject IN_LIST unit_with_guests)
                target_link_libraries(unit_${layer}_${subject} PRIVATE portable_guests)
            endif()
        elseif(NOT GNOMON_CROSS)
            message(WARNING "tests/unit/${file}: the layer ${layer} has no sources yet")
        endif()
    endforeach()
endif()

# Firmware tables, as the tools of others read them.
if(NOT GNOMON_CROSS AND TARGET unit_machine_acpi AND TARGET unit_machine_smbios)
    gnomon_test(unit/machine/acpi_iasl LABEL unit
                COMMAND tests/unit/machine/acpi_iasl.sh $<TARGET_FILE:unit_machine_acpi>)
    gnomon_test(unit/machine/smbios_dmidecode LABEL unit
                COMMAND tests/unit/machine/smbios_dmidecode.sh $<TARGET_FILE:unit_machine_smbios>)
endif()

# What the randomised tests of mmu/ share: the driver and its model.
if(NOT GNOMON_CROSS OR emulator)
    add_library(mmu_driver STATIC ${CMAKE_SOURCE_DIR}/tests/mmu/model.c
                ${CMAKE_SOURCE_DIR}/tests/mmu/driver.c)
    target_link_libraries(mmu_driver PUBLIC gnomon_mmu)
    if(GNOMON_LTO)
        target_compile_options(mmu_driver PRIVATE -fno-lto)
    endif()
    if(NOT GNOMON_FUZZ)
        gnomon_test_program(mmu_random ${CMAKE_SOURCE_DIR}/tests/mmu/random.c
                            LIBRARIES mmu_driver)
        target_sources(mmu_random PRIVATE ${CMAKE_SOURCE_DIR}/tests/mmu/guest.c
                       ${CMAKE_SOURCE_DIR}/tests/mmu/guest_access.c
                       ${CMAKE_SOURCE_DIR}/tests/mmu/guest_acts.c
                       ${CMAKE_SOURCE_DIR}/tests/mmu/guest_tables.c)
        if(GNOMON_CROSS)
            target_link_options(mmu_random PRIVATE -static)
        endif()
        set(random_steps 1000000)
        if(GNOMON_CROSS)
            set(random_steps 20000)
        elseif(NOT GNOMON_SANITIZE STREQUAL "")
            set(random_steps 100000)
        endif()
        gnomon_test(unit/mmu/random LABEL "unit;single" TIMEOUT 3600
                    COMMAND mmu_random --steps ${random_steps})
    endif()
endif()

if(NOT GNOMON_CROSS OR emulator)
    file(GLOB fuzz_harnesses CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/tests/fuzz
         ${CMAKE_SOURCE_DIR}/tests/fuzz/*_fuzz.c)
    if(TARGET gnomon_machine)
        set(fuzz_libraries gnomon_machine)
    else()
        foreach(layer IN ITEMS devices vmm cpu mmu base)
            if(TARGET gnomon_${layer})
                list(APPEND fuzz_libraries gnomon_${layer})
            endif()
        endforeach()
    endif()
    foreach(file IN LISTS fuzz_harnesses)
        string(REGEX REPLACE "_fuzz\\.c$" "" name ${file})
        set(own_libraries)
        if(GNOMON_CROSS)
            if(name MATCHES "decode|gdb|monitor")
                continue() # Capstone; the front end
            endif()
            set(own_libraries -static)
        elseif(name STREQUAL "decode")
            set(own_libraries PkgConfig::capstone)
        elseif(name MATCHES "gdb|monitor")
            set(own_libraries gnomon_frontend)
        endif()
        if(name STREQUAL "mmu")
            list(PREPEND own_libraries mmu_driver)
        endif()
        set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
        if(GNOMON_FUZZ)
            gnomon_test_program(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${file}
                                LIBRARIES ${fuzz_libraries} ${own_libraries})
            target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
            gnomon_test(fuzz/${name} LABEL fuzz TIMEOUT 7200
                        COMMAND ${CMAKE_SOURCE_DIR}/tests/fuzz/run.sh
                                $<TARGET_FILE:fuzz_${name}> ${corpus})
        else()
            gnomon_test_program(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/${file}
                                LIBRARIES ${fuzz_libraries} ${own_libraries})
            target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
            if(GNOMON_CROSS)
                gnomon_test(replay/${name} LABEL "fuzz;full" COMMAND fuzz_${name} ${corpus})
            else()
                gnomon_test(replay/${name} LABEL fuzz COMMAND fuzz_${name} ${corpus})
            endif()
        endif()
    endforeach()
endif()

if(NOT GNOMON_FUZZ)
    set(folders portable guest)
    if(NOT GNOMON_CROSS)
        list(APPEND folders lint diff decode model boot bench)
    endif()
    foreach(folder IN LISTS folders)
        if(EXISTS ${CMAKE_SOURCE_DIR}/tests/${folder}/CMakeLists.txt)
            add_subdirectory(${CMAKE_SOURCE_DIR}/tests/${folder} tests/${folder})
        endif()
    endforeach()
endif()
