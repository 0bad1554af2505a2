// What shows that a log lacks records that were durable. A start asks before it changes anything, and leaves
// such a log to a person (Log::open); `log verify` asks the same.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/journal_directory.h"
#include "storage/offset_index.h"
#include "storage/recovery.h"

namespace millrace::storage {

// Made by a person in a partition's directory, for one start: it goes on with what is there.
inline constexpr std::string_view kAcceptLossFile = "accept-loss";

// A segment file in a log's directory.
struct FoundSegment {
  int64_t base_offset = 0;
  int64_t size = 0;
};

// What there is of a log, and what tells of more.
struct LogTraces {
  std::string directory;
  std::optional<LogCheckpoint> checkpoint;  // nullopt without one that parses
  // There is no file of it, as of a log that was never closed nor checkpointed.
  bool never_checkpointed = false;
  std::vector<SegmentSummary> summaries;  // of the index; empty without it
  bool clean_shutdown = false;            // the index knows every segment
  std::vector<FoundSegment> found;        // in order
  std::vector<int64_t> deleted;           // base offsets of files that are about to be removed

  int64_t log_start_offset() const { return checkpoint ? checkpoint->log_start_offset : 0; }
  int64_t recovery_point() const { return checkpoint ? checkpoint->recovery_point : 0; }
  std::string path_of(int64_t base_offset) const;
};

struct Loss {
  std::string file;  // or the log's directory, where it has none
  int64_t position = 0;
  int64_t offset = 0;  // the first that is missing
  std::string what;    // a sentence that goes on behind the file's name

  std::string text() const { return file + " " + what; }
};

// Segments that are missing, or shorter than they were synced. The index has no word for a segment that is
// being truncated or merged, whatever a crash leaves of that (Log::leave_journal_behind,
// persist_swap_intent). Of removed segments the files stay, under another name, until the log's start is
// stored above them (DueFiles).
std::vector<Loss> lost_segments(const LogTraces& traces);

// What the offsets are between two segments, of which one ends at `end_offset` and `next` is the next one.
enum class Hole {
  kNone,
  kUnsynced,  // was never known to be durable: a power loss has left it
  kDeleted,   // a retention run was under way
  kLost,
};
// Each segment begins where the one before it ended, compacted or not (Log::write, compaction.h).
Hole hole_before(const LogTraces& traces, const FoundSegment& next, int64_t end_offset);
Loss lost_between(const LogTraces& traces, const FoundSegment& next, int64_t end_offset);

// Of a log whose segments end at `end_offset`.
std::optional<Loss> lost_end(const LogTraces& traces, int64_t end_offset);
// Whether the journal's batches follow it: nullopt if they do.
std::optional<Loss> lost_before_journal(const LogTraces& traces, std::span<const JournaledBatch> journaled,
                                        const JournalPosition& floor, int64_t end_offset);

// A batch of these offsets and no records, as compaction leaves them, too: it stands for what is lost.
Buffer batch_without_records(int64_t first_offset, int64_t end_offset);

}  // namespace millrace::storage
