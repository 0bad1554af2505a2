// The bytes of a journal file: groups of record batches, each group written and synced at once.
//
//   file   = header group* rest header   each at a block boundary, the second header in the last block; the
//                                        groups end where no sound one of the file's run begins
//   header = magic version run salt      padded to a block
//   group  = header entry* padding to the next block
//   entry  = header batch                the batch as it stands in the segment: with offset and leader epoch
//                                        (the header says where the log ended before it)
//
// A group has the position (run, number): the run is chosen anew when a journal is begun, the numbers of a
// run ascend by one. So what an earlier use of a file left behind its last group isn't taken for a part of
// it. Checksums: each header has one; an entry's covers its header and the part of the batch that the batch's
// own CRC leaves out. Integers are little-endian.
//
// Behind a torn or damaged group, and behind the last one, stands what clients have sent, and that may look
// like a group in every byte. Each run has therefore a salt, a random number that no client gets to know, and
// only groups that carry it are believed: it stands in the group's header, and the CRCs of entries begin with
// it. The file's header tells which one. It is written when a journal takes the file, before any group: the
// copy in the last block first, then the one in the first block. So the first block's is right if it is
// sound; if it isn't, the copy is. Where neither is, nothing in the file can be believed, and it is told as
// damage.
//
// Version 1 had neither file headers nor salts: a file began with its first group. A file that begins so is
// still read, as it was then; the next journal that takes it makes it one of version 2.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/topic_partition.h"
#include "storage/aligned_buffer.h"

namespace millrace::storage {

// Groups begin at multiples of this, so that writing one never touches the sectors of another.
inline constexpr size_t kJournalBlockBytes = 4096;
inline constexpr uint32_t kJournalVersion = 2;
// Of a group, with header and padding. A start relies on it: where a file has this much room, the file after
// it wasn't begun, and needn't be read.
inline constexpr size_t kJournalMaxGroupBytes = size_t{2} << 20;
// The same in files of the size that they had before.
inline constexpr size_t kJournalOlderMaxGroupBytes = size_t{4} << 20;
// Of a file, those that hold no groups.
inline constexpr size_t kJournalFrameBytes = 2 * kJournalBlockBytes;

// The runs of one start share all but this many of their lowest bits.
inline constexpr int kJournalRunBits = 16;

// Of one journal, from a start to the stop or crash after it.
struct JournalRun {
  uint64_t number = 0;
  uint64_t salt = 0;
  auto operator<=>(const JournalRun&) const = default;
};

struct JournalPosition {
  uint64_t run = 0;
  uint64_t number = 0;  // of the group in its run, from 1 on
  auto operator<=>(const JournalPosition&) const = default;
};

// What a file's header tells.
struct JournalFileHeader {
  uint32_t version = kJournalVersion;
  JournalRun run;  // zeros in version 1, whose groups tell their run themselves
};

// What a group's header tells.
struct JournalHeader {
  JournalPosition position;
  // Groups of this run with lower numbers were checkpointed when this one was written: nobody needs them.
  uint64_t needed_from = 0;
  size_t size_bytes = 0;  // read only: of the group, with header and padding
};

struct JournalEntry {
  TopicIdPartition partition;
  int64_t log_end_offset = 0;  // where the log ended before the batch
  Bytes batch;
  size_t batch_at = 0;  // read only: where in the group the batch begins
};

struct JournalGroup {
  JournalPosition position;
  uint64_t needed_from = 0;           // see JournalHeader
  std::vector<JournalEntry> entries;  // views into what was parsed
  size_t size_bytes = 0;              // with padding
  int64_t file_position = 0;          // where it begins; set by who knows the file
};

// Collects the entries of the next group in memory that is aligned to blocks, as direct writes need it.
class JournalGroupBuilder {
 public:
  // `salt`: of the run that the groups are of.
  explicit JournalGroupBuilder(uint64_t salt);

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
  void reserve(size_t bytes);

  uint64_t salt_;
  uint32_t entry_seed_;
  AlignedBuffer memory_;
  size_t size_ = 0;  // header and entries
  uint32_t entry_count_ = 0;
};

// The block that begins and ends a file.
struct alignas(kJournalBlockBytes) JournalFileBlock {
  std::array<std::byte, kJournalBlockBytes> bytes{};
};
JournalFileBlock journal_file_block(const JournalRun& run);

// Both take the bytes of a block, at least. What a sound file header there tells, of version 2; nullopt for
// anything else.
std::optional<JournalFileHeader> peek_journal_file_header(Bytes block);
// The same of a file's first block, where version 1 has a group.
std::optional<JournalFileHeader> peek_journal_file_start(Bytes first_block);
// What the file says that `content` is the whole of: its first block or, if that isn't sound, its last.
std::optional<JournalFileHeader> find_journal_file_header(Bytes content);
// Where the groups begin in a file of this version.
constexpr size_t journal_groups_begin(uint32_t version) { return version == 1 ? 0 : kJournalBlockBytes; }

// The group of this file that begins at `at`, whose checksums, the batches' CRCs included, are right; nullopt
// for anything else.
std::optional<JournalGroup> parse_journal_group(Bytes at, const JournalFileHeader& file);
// What a sound group header of this file at `at` tells, whatever follows it.
std::optional<JournalHeader> peek_journal_header(Bytes at, const JournalFileHeader& file);

}  // namespace millrace::storage
