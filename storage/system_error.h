// What the system refused, in words for a person.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace millrace::storage {

// kKafkaStorageError: "<operation> <path>: <the system's reason>", and what to do, where that is known.
// `error` is an errno; `operation` begins with "can't".
std::unexpected<Error> system_failure(std::string_view operation, const std::string& path, int error);

// Whether such an error says that a file may not grow beyond the process's limit of file sizes
// (RLIMIT_FSIZE). To writers that is a full disk (is_full_disk).
bool is_at_file_size_limit(const Error& error);

}  // namespace millrace::storage
