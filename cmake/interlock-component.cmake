# SPDX-License-Identifier: BSL-1.0
# What the components of headers have in common: one target that links ours and what they stand on.
# The file is the same in the source tree and installed.

# interlock_add_component(NAME LIBRARY...): adds interlock::NAME, and sets `target` to the name that
# more properties are given to.
function(interlock_add_component name)
  get_target_property(found_as_package interlock::interlock IMPORTED)
  if(found_as_package)
    set(target interlock::${name})
    add_library(${target} INTERFACE IMPORTED)
  else()
    set(target interlock_${name})
    add_library(${target} INTERFACE)
    add_library(interlock::${name} ALIAS ${target})
  endif()
  target_link_libraries(${target} INTERFACE interlock::interlock ${ARGN})
  set(target ${target} PARENT_SCOPE)
endfunction()
