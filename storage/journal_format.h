// The bytes of a journal file: groups of record batches, each group written and synced at once.
//
//   file   = group*            at block boundaries, one behind the other; ends where no sound group begins
//   group  = header entry* padding to the next block
//   entry  = header batch      the batch as it stands in the segment: with offset and leader epoch
//                              (the header says where the log ended before it)
//
// A group has the position (run, number): the run is chosen anew when a journal is begun, the numbers of a
// run ascend by one. So what an earlier use of a file left behind its last group isn't taken for a part of
// it. Checksums: the group's header has one; an entry's covers its header and the part of the batch that the
// batch's own CRC leaves out. Integers are little-endian.
#pragma once

#include <compare>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/topic_partition.h"

namespace millrace::storage {

// Groups begin at multiples of this, so that writing one never touches the sectors of another.
inline constexpr size_t kJournalBlockBytes = 4096;

struct JournalPosition {
  uint64_t run = 0;
  uint64_t number = 0;  // of the group in its run, from 1 on
  auto operator<=>(const JournalPosition&) const = default;
};

// What a group's header tells.
struct JournalHeader {
  JournalPosition position;
  // Groups of this run with lower numbers were checkpointed when this one was written: nobody needs them.
  uint64_t needed_from = 0;
};

struct JournalEntry {
  TopicIdPartition partition;
  int64_t log_end_offset = 0;  // where the log ended before the batch
  Bytes batch;
};

struct JournalGroup {
  JournalPosition position;
  uint64_t needed_from = 0;           // see JournalHeader
  std::vector<JournalEntry> entries;  // views into what was parsed
  size_t size_bytes = 0;              // with padding
};

// Collects the entries of the next group in memory that is aligned to blocks, as direct writes need it.
class JournalGroupBuilder {
 public:
  JournalGroupBuilder() = default;

  bool empty() const { return entry_count_ == 0; }
  // Of the group, with header and padding, if one more batch of `batch_bytes` is added.
  size_t size_with(size_t batch_bytes) const;

  // `batch`: one whole record batch; `log_end_offset`: see JournalEntry.
  void add(const TopicIdPartition& partition, int64_t log_end_offset, Bytes batch);
  // Drops what was added for a partition.
  void remove(const TopicIdPartition& partition);
  // Completes the group; the bytes stay until clear().
  Bytes seal(const JournalHeader& header);
  void clear();

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  void reserve(size_t bytes);

  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_ = 0;
  size_t size_ = 0;  // header and entries
  uint32_t entry_count_ = 0;
};

// The group that begins at `at`, whose checksums, the batches' CRCs included, are right; nullopt for anything
// else.
std::optional<JournalGroup> parse_journal_group(Bytes at);
// What a sound group header at `at` tells, whatever follows it.
std::optional<JournalHeader> peek_journal_header(Bytes at);

}  // namespace millrace::storage
