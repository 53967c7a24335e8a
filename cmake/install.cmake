# SPDX-License-Identifier: BSL-1.0
# Package files. The export set exists in every case, so that a consumer who exports a library of
# its own that links ours can do so; the install rules are on when top-level or when asked for.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(NOT DEFINED INTERLOCK_INSTALL)
  set(INTERLOCK_INSTALL ${PROJECT_IS_TOP_LEVEL})
endif()

# INCLUDES DESTINATION because a FILE_SET's directory is lost on a consumer with CMake < 3.23.
file(GLOB_RECURSE interlock_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/*.hpp)
if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
  target_sources(interlock INTERFACE FILE_SET HEADERS
    BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${interlock_headers})
endif()

if(INTERLOCK_INSTALL)
  if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
    set(interlock_file_set FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  else()
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endif()
  install(TARGETS interlock EXPORT interlock-targets
    ${interlock_file_set}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT interlock-targets NAMESPACE interlock::
    DESTINATION ${CMAKE_INSTALL_DATADIR}/cmake/interlock)

  # The component `testing` is compiled by its user: its sources, and the file that adds the target.
  # Those of the others add their targets too.
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/interlock-testing.cmake
    ${PROJECT_SOURCE_DIR}/cmake/interlock-asio.cmake
    ${PROJECT_SOURCE_DIR}/cmake/interlock-component.cmake
    ${PROJECT_SOURCE_DIR}/cmake/interlock-engines.cmake
    DESTINATION ${CMAKE_INSTALL_DATADIR}/interlock/cmake)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/testing
    DESTINATION ${CMAKE_INSTALL_DATADIR}/interlock/src FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cpp")

  set(interlock_testing_dir ${CMAKE_INSTALL_DATADIR}/interlock)
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/interlock-config.cmake.in
    ${PROJECT_BINARY_DIR}/interlock-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_DATADIR}/cmake/interlock
    PATH_VARS interlock_testing_dir)
  file(WRITE ${PROJECT_BINARY_DIR}/interlock-build-tree.cmake
    "set(interlock_testing_dir \"${PROJECT_SOURCE_DIR}\")\n")
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/interlock-config-version.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/interlock.pc.in
    ${PROJECT_BINARY_DIR}/interlock.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/interlock-config.cmake
    ${PROJECT_BINARY_DIR}/interlock-config-version.cmake
    DESTINATION ${CMAKE_INSTALL_DATADIR}/cmake/interlock)
  install(FILES ${PROJECT_BINARY_DIR}/interlock.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/interlock)
  export(EXPORT interlock-targets NAMESPACE interlock::
    FILE ${PROJECT_BINARY_DIR}/interlock-targets.cmake)
else()
  export(TARGETS interlock NAMESPACE interlock:: FILE ${PROJECT_BINARY_DIR}/interlock-targets.cmake)
endif()
