# SPDX-License-Identifier: BSL-1.0
# Install rules and package files; on when top-level, or with -DINTERLOCK_INSTALL=ON.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
