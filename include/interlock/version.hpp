// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/version.hpp - the one place that holds the version; CMake reads it from here.

#define INTERLOCK_VERSION_MAJOR 0
#define INTERLOCK_VERSION_MINOR 1
#define INTERLOCK_VERSION_PATCH 0
#define INTERLOCK_VERSION_STRING "0.1.0"
