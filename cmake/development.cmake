# SPDX-License-Identifier: BSL-1.0
# What only a developer of Interlock sees: warnings, sanitizers, tests, benchmarks, examples.

option(INTERLOCK_TESTS "Build the tests" ON)
option(INTERLOCK_BENCHMARKS "Build the benchmarks" ON)
option(INTERLOCK_EXAMPLES "Build the examples and the lab" ON)
set(INTERLOCK_ENGINE_TESTS ON CACHE STRING
  "Build the tests of engines: ON, OFF, quick (without examples, and tests that mostly wait for
servers), or conformance (only what all engines have to do, and the tests of their clients)")
set(INTERLOCK_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize= (address,undefined or thread)")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# Flags of our own programs; never of a consumer.
add_library(interlock_development INTERFACE)
target_link_libraries(interlock_development INTERFACE interlock::interlock)
target_compile_options(interlock_development INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor)
if(INTERLOCK_SANITIZE)
  add_compile_options(-fsanitize=${INTERLOCK_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${INTERLOCK_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The checks in between keep GCC from seeing that a std::optional has just been filled.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
endif()

# interlock_skip(NAME LABEL REASON): a test that ends as skipped, and says why.
function(interlock_skip name label reason)
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${reason}")
  set_tests_properties(${name} PROPERTIES LABELS ${label} SKIP_REGULAR_EXPRESSION "^skipped: ")
endfunction()

# interlock_missing_engine(RESULT ENGINE...): why one of them cannot be had; empty if all can.
function(interlock_missing_engine result)
  set(${result} "" PARENT_SCOPE)
  foreach(engine IN LISTS ARGN)
    if(NOT TARGET interlock::${engine})
      set(reason "${interlock_${engine}_missing}")
      if(NOT reason)
        set(reason "INTERLOCK_ENGINES leaves out '${engine}'")
      endif()
      set(${result} "${reason}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

enable_testing()
if(INTERLOCK_TESTS)
  add_subdirectory(tests)
endif()
if(INTERLOCK_EXAMPLES)
  add_subdirectory(examples)
endif()
if(INTERLOCK_BENCHMARKS)
  add_subdirectory(benchmarks)
endif()
