// A file of the journal that something was appended to: it is one up to where it ended before.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "storage/journal_directory.h"
#include "storage/journal_format.h"

namespace millrace::storage {

// The size that a file with this header at its start had, if it has grown to `size` bytes; else 0. It is
// where the header's copy stands. block_at(position) returns the Result of reading a block.
template <class BlockAt>
Result<int64_t> size_before_growth(const JournalFileHeader& header, int64_t size, BlockAt block_at,
                                   int64_t file_bytes = JournalDirectory::kFileBytes) {
  // A file that was being cut to today's size has a copy at the end of either.
  for (const int64_t end : {JournalDirectory::kOlderFileBytes, file_bytes}) {
    if (size < end || header.version < 2) continue;
    const auto block = block_at(end - static_cast<int64_t>(kJournalBlockBytes));
    if (!block) return std::unexpected(block.error());
    const auto copy = peek_journal_file_header(*block);
    if (copy && copy->version == header.version && copy->run == header.run) return size > end ? end : 0;
  }
  return 0;
}

}  // namespace millrace::storage
