// SPDX-License-Identifier: BSL-1.0
// Of the target whose precompiled headers the tests use; it has no code of its own.
