# SPDX-License-Identifier: BSL-1.0
# interlock::testing - the explorer's runtime. A program under test is compiled with
# -fsanitize=thread and linked with this library instead of the sanitizer:
#   target_compile_options(my.model PRIVATE -fsanitize=thread -O1 -g)
#   target_link_libraries(my.model PRIVATE interlock::testing)

if(INTERLOCK_SANITIZE OR NOT UNIX)
  message(STATUS "interlock::testing is left out: it takes the sanitizer's place")
  return()
endif()

add_library(interlock_testing STATIC ${PROJECT_SOURCE_DIR}/src/testing/runtime.cpp)
add_library(interlock::testing ALIAS interlock_testing)
set_target_properties(interlock_testing PROPERTIES EXPORT_NAME testing)
target_link_libraries(interlock_testing PUBLIC interlock::interlock PRIVATE ${CMAKE_DL_LIBS})
# model.hpp declares the hooks of detail/parking.hpp again, as noinline; GCC remarks on that.
target_compile_options(interlock_testing INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-attributes>)
# Its speed is the speed of every model test, in a debug build too.
target_compile_options(interlock_testing PRIVATE -O2 -g
  $<$<BOOL:${PROJECT_IS_TOP_LEVEL}>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow;-Wold-style-cast;-Wnon-virtual-dtor>)

if(INTERLOCK_TESTS AND PROJECT_IS_TOP_LEVEL)
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/testing)
endif()
