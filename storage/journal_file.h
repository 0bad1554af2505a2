// What one journal file holds, and what a file's ends say about the files beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "protocol/bytes.h"
#include "storage/journal_format.h"

namespace millrace::storage {

// What one journal file holds.
struct JournalFileContent {
  // Without one (damage, or a file that was never finished) nothing in the file is believed.
  std::optional<JournalFileHeader> header;
  std::vector<JournalGroup> groups;  // in order; views into the file's bytes
  // Where sound groups are followed by something that can only be damage: more groups come behind it. -1:
  // nowhere.
  int64_t damaged_at = -1;
  int64_t groups_end = 0;  // where the last sound group ends
};

// Reads all groups of a whole file's bytes, up to the end of what its last user wrote.
JournalFileContent parse_journal_file(Bytes content);

// The outermost of what one file says, by which a torn first group can be told from a damaged one.
struct JournalFileEnds {
  std::optional<JournalHeader> first;   // where the groups begin, whatever follows it
  std::optional<JournalHeader> latest;  // of the last sound group
  bool has_sound_start = false;
};
JournalFileEnds ends_of(Bytes bytes, const JournalFileContent& content);
// Whether groups that may be needed follow something unsound at the start of `file`. A torn group, which
// nobody was told of, has groups of an earlier use behind it, which a checkpoint had made superfluous. `all`:
// the journal's files.
bool begins_damaged(const JournalFileEnds& file, std::span<const JournalFileEnds> all);

}  // namespace millrace::storage
