// What one journal file holds, and what a file's ends say about the files beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "storage/journal_format.h"

namespace millrace::storage {

// The bytes of a journal file, read from its start to its end.
class JournalFileBytes {
 public:
  virtual ~JournalFileBytes() = default;
  virtual int64_t size() const = 0;
  // `count` bytes from `position` on, or more; fewer only where the file ends. Valid until the next call.
  // `position`: a multiple of the block size, and none before that of an earlier call. Errors:
  // kKafkaStorageError.
  virtual Result<Bytes> from(int64_t position, size_t count) = 0;
};

// What one journal file holds.
struct JournalFileContent {
  // Without one (damage, or a file that was never finished) nothing in the file is believed.
  std::optional<JournalFileHeader> header;
  std::optional<JournalHeader> start;   // where the groups begin, whatever follows it
  std::optional<JournalHeader> oldest;  // the first sound group
  std::optional<JournalHeader> latest;  // the last sound group
  std::optional<JournalHeader> behind;  // where that ends, of what isn't a sound group
  // Where sound groups are followed by something that can only be damage: more groups come behind it. -1:
  // nowhere.
  int64_t damaged_at = -1;
  int64_t groups_end = 0;  // where the last sound group ends
  int64_t size = 0;

  bool has_sound_start() const {
    return !header || damaged_at != static_cast<int64_t>(journal_groups_begin(header->version));
  }
};

// Reads all groups of a file with this header, up to the end of what its last user wrote; calls `visit` for
// each, in order, with views that are valid until it returns. Errors: those of `bytes`.
Result<JournalFileContent> parse_journal_file(JournalFileBytes& bytes, const JournalFileHeader& header,
                                              const std::function<void(const JournalGroup&)>& visit);

// The same of a whole file's bytes.
struct WholeJournalFile : JournalFileContent {
  std::vector<JournalGroup> groups;  // in order; views into the file's bytes
};
WholeJournalFile parse_journal_file(Bytes content);

// Whether groups that may be needed follow something unsound at the start of `file`. A torn group, which
// nobody was told of, has groups of an earlier use behind it, which a checkpoint had made superfluous. `all`:
// the journal's files.
bool begins_damaged(const JournalFileContent& file, std::span<const JournalFileContent> all);

}  // namespace millrace::storage
