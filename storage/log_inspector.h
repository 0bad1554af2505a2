// Looks at logs offline, for `millrace log dump` and `log verify`: reads only, believes nothing, and goes on
// behind damage where it can.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "storage/batch_cursor.h"
#include "storage/file_system.h"
#include "storage/journal_directory.h"
#include "storage/offset_index.h"

namespace millrace::storage {

struct Damage {
  std::string file;
  int64_t position = 0;  // of the batch
  int64_t offset =
      -1;  // its base offset, or the next one due where there is no header; -1 if not about a batch
  std::string what;
};

struct InspectionReport {
  int64_t segments = 0;
  int64_t batches = 0;
  int64_t records = 0;
  int64_t bytes = 0;
  int64_t index_entries = 0;
  int64_t first_offset = -1;  // of all batches; -1 without any
  int64_t last_offset = -1;
  int64_t max_timestamp_ms = -1;
  std::vector<Damage> damages;
  std::vector<std::string> notes;  // what is no damage, and worth knowing
};

// What the caller wants to see; any may be empty. A false answer ends the inspection early.
struct InspectionVisitor {
  std::function<bool(const std::string& file, const BatchAt&)> on_batch;
  // Of a journal, before on_batch: whose batch it is.
  std::function<bool(const std::string& file, const TopicIdPartition&, const BatchAt&)> on_journaled;
  std::function<bool(const BatchAt&, const protocol::RecordView&)> on_record;
};

struct InspectionOptions {
  // A compressed batch that gets larger counts as damage.
  size_t decompress_limit = size_t{1} << 30;
  // Whether records are parsed (compressed ones: decompressed) even if nobody wants to see them.
  bool check_records = true;
  // Of the data directory around a partition: whether its last broker stopped cleanly, and what its journal
  // holds if not; null where that isn't known.
  bool clean_shutdown = false;
  const JournalDirectory* journals = nullptr;
  // Of a segment: whether there may be holes between its batches (offset_chain.h). inspect_partition looks
  // for itself.
  bool may_have_holes = true;
};

// Inspects one segment file: sizes, magic, CRC, ascending offsets, records that parse and agree with their
// header. Errors: only when the file can't be read; damage is in the report.
Result<InspectionReport> inspect_segment(FileSystem& files, const std::string& path,
                                         const InspectionOptions& options,
                                         const InspectionVisitor& visitor = {});

// Inspects all segments of a partition's directory, that they follow each other, and that nothing is missing
// of what its checkpoint, the index (may be null) and the journal know to be durable: what a start would
// refuse (log_loss.h). With an index also that each covered segment's entries point to their batches. Errors
// as above.
Result<InspectionReport> inspect_partition(FileSystem& files, const std::string& directory,
                                           const OffsetIndex* index, const InspectionOptions& options,
                                           const InspectionVisitor& visitor = {});

// Inspects a journal file: the groups that its last user wrote, whose batches are counted and shown (no
// records). Damage is what stands before a later group; that the last group is torn is no damage, it was
// never acknowledged. Positions are those of groups. Errors as above.
Result<InspectionReport> inspect_journal(FileSystem& files, const std::string& path,
                                         const InspectionVisitor& visitor = {});

}  // namespace millrace::storage
