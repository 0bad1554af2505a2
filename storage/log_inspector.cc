#include "storage/log_inspector.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "storage/cleaner_checkpoint.h"
#include "storage/journal_directory.h"
#include "storage/journal_growth.h"
#include "storage/log_directory.h"
#include "storage/log_loss.h"
#include "storage/merge_leftover.h"
#include "storage/offset_chain.h"
#include "storage/segment.h"

namespace millrace::storage {
namespace {

constexpr size_t kJournalFileLimit = size_t{1} << 30;

using protocol::BatchHeader;
using protocol::RecordView;

// One segment file on its way from start to end.
class SegmentInspector {
 public:
  SegmentInspector(const std::string& path, const InspectionOptions& options,
                   const InspectionVisitor& visitor, InspectionReport& report)
      : path_(path), options_(options), visitor_(visitor), report_(report) {}

  // Returns false if the visitor wants no more.
  Result<bool> run(const File& file, int64_t base_offset, std::optional<int64_t> next_base) {
    const auto size = file.size();
    if (!size) return std::unexpected(size.error());
    ++report_.segments;
    report_.bytes += *size;
    chain_ = OffsetChain(base_offset, next_base, options_.may_have_holes);
    BatchCursor cursor(file, 0, *size);
    while (true) {
      const int64_t position = cursor.position();
      const auto batch = cursor.next();
      if (!batch && batch.error().code != ErrorCode::kCorruptMessage) return std::unexpected(batch.error());
      if (!batch) {
        // Where the length itself is in doubt there is no telling where the next batch begins.
        damage(
            position, chain_.due(),
            fmt::format("{} ({} bytes not looked at)", what_of(batch.error(), position), *size - position));
        return true;
      }
      if (!*batch) return true;
      const auto go_on = look_at(file, **batch);
      if (!go_on || !*go_on) return go_on;
    }
  }

  // Position and largest timestamp before it, by base offset: what the index should say.
  const std::map<int64_t, IndexEntry>& batches() const { return batches_; }
  int64_t next_offset() const { return chain_.due(); }

 private:
  void damage(int64_t position, int64_t offset, std::string what) {
    report_.damages.push_back({path_, position, offset, std::move(what)});
  }

  // Without the place, which is told anyway, and the hint at `log verify`, which is at work here.
  std::string what_of(const Error& error, int64_t position) const {
    std::string_view what = error.message;
    const std::string place = fmt::format("{} at byte {}: ", path_, position);
    if (what.starts_with(place)) what.remove_prefix(place.size());
    return std::string(what.substr(0, what.find("; `millrace log verify`")));
  }

  Result<bool> look_at(const File& file, const BatchAt& at) {
    const BatchHeader& header = at.header;
    // As if each batch had an entry; behind damage the positions go on.
    summary_.size = at.position;
    int64_t bytes_since_entry = kEntryDue;
    if (const auto entry = count_batch(header, 0, summary_, bytes_since_entry))
      batches_[header.base_offset] = *entry;
    ++report_.batches;
    if (report_.first_offset < 0) report_.first_offset = header.base_offset;
    report_.last_offset = std::max(report_.last_offset, header.last_offset());
    report_.max_timestamp_ms = std::max(report_.max_timestamp_ms, summary_.max_timestamp_ms);
    if (visitor_.on_batch && !visitor_.on_batch(path_, at)) return false;
    Buffer bytes(header.size_bytes());
    const auto read = file.read_at(bytes, at.position);
    if (!read) return std::unexpected(read.error());
    if (*read != bytes.size() || !protocol::crc_matches(bytes)) {
      damage(at.position, header.base_offset,
             fmt::format("the batch's CRC is {:08x}, not that of its contents", header.crc));
      // It keeps its place unless that can't be.
      if (chain_.damage(header).empty()) chain_.pass(header);
      chain_.skip();
      return true;
    }
    if (const std::string wrong = chain_.damage(header); wrong.empty()) {
      chain_.pass(header);
    } else {
      damage(at.position, chain_.is_exact() ? chain_.due() : header.base_offset, wrong);
      if (chain_.is_exact() && header.last_offset_delta >= 0) {
        chain_.pass_as_due(header);
      } else {
        chain_.skip();
      }
    }
    return options_.check_records || visitor_.on_record ? look_into(at, bytes) : true;
  }

  Result<bool> look_into(const BatchAt& at, Bytes bytes) {
    const BatchHeader& header = at.header;
    bool go_on = true;
    int64_t last_offset = header.base_offset - 1;
    int64_t max_timestamp_ms = -1;
    std::string wrong;
    const auto walked =
        protocol::for_each_record(bytes, options_.decompress_limit, [&](const RecordView& record) {
          ++report_.records;
          if (record.offset <= last_offset || record.offset > header.last_offset()) {
            wrong = fmt::format("a record with offset {} behind {} in a batch that ends at {}", record.offset,
                                last_offset, header.last_offset());
          }
          last_offset = record.offset;
          max_timestamp_ms = std::max(max_timestamp_ms, record.timestamp_ms);
          if (visitor_.on_record) go_on = visitor_.on_record(at, record);
          return go_on;
        });
    if (!walked) wrong = walked.error().message;
    if (go_on && wrong.empty() && header.record_count > 0 && max_timestamp_ms != header.max_timestamp_ms) {
      wrong = fmt::format("a max timestamp of {} where the records' largest is {}", header.max_timestamp_ms,
                          max_timestamp_ms);
    }
    if (!wrong.empty()) damage(at.position, header.base_offset, wrong);
    return go_on;
  }

  const std::string& path_;
  const InspectionOptions& options_;
  const InspectionVisitor& visitor_;
  InspectionReport& report_;
  OffsetChain chain_{0, std::nullopt, true};
  SegmentSummary summary_;
  std::map<int64_t, IndexEntry> batches_;
};

// Up to `end_offset`: a start doesn't use what the index has behind that.
Result<> check_index(const OffsetIndex& index, const SegmentKey& key, int64_t end_offset,
                     const std::string& path, const SegmentInspector& segment, InspectionReport& report) {
  const auto entries = index.entries(key);
  if (!entries) return std::unexpected(entries.error());
  for (const IndexEntry& entry : *entries) {
    if (entry.offset >= end_offset) break;
    ++report.index_entries;
    const auto batch = segment.batches().find(entry.offset);
    if (batch == segment.batches().end() || batch->second != entry) {
      report.damages.push_back(
          {path, entry.position, entry.offset,
           "the index has an entry that isn't that of a batch; it is rebuilt if the directory \"index\" "
           "is removed while the broker is down"});
    }
  }
  return {};
}

Damage damage_of(const Loss& loss, const std::string& directory) {
  return {loss.file, loss.position, loss.offset,
          fmt::format("{}; restore the file, or, to go on without these records, create {}/{} and start "
                      "the broker",
                      loss.what, directory, kAcceptLossFile)};
}

// Whether `lost` has a segment that begins where the one before it ends.
bool is_known_missing(const std::vector<Loss>& lost, const LogTraces& traces, int64_t offset) {
  return std::ranges::find(lost, traces.path_of(offset), &Loss::file) != lost.end();
}

// What of a partition is there without looking into its segments.
Result<LogTraces> find_traces(FileSystem& files, const std::string& directory, const OffsetIndex* index,
                              const std::optional<TopicIdPartition>& id, const InspectionOptions& options,
                              InspectionReport& report) {
  LogTraces traces;
  traces.directory = directory;
  traces.clean_shutdown = options.clean_shutdown;
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  for (const DirectoryEntry& entry : *entries) {
    if (const auto deleted = Segment::deleted_base_offset_of(entry.name)) traces.deleted.push_back(*deleted);
    const auto base_offset = Segment::base_offset_of(entry.name);
    if (!base_offset) continue;
    const auto status = files.status(directory + "/" + entry.name);
    if (!status) return std::unexpected(status.error());
    traces.found.push_back({*base_offset, status->size});
  }
  std::ranges::sort(traces.found, {}, &FoundSegment::base_offset);
  auto checkpoint = load_checkpoint(files, directory);
  if (!checkpoint && checkpoint.error().code != ErrorCode::kCorruptMessage)
    return std::unexpected(checkpoint.error());
  if (checkpoint) {
    traces.checkpoint = *checkpoint;
    traces.never_checkpointed = !*checkpoint && !options.clean_shutdown;
    const auto has_records = [](const FoundSegment& found) { return found.size > 0; };
    if (!*checkpoint && options.clean_shutdown && std::ranges::any_of(traces.found, has_records)) {
      report.damages.push_back(
          {fmt::format("{}/{}", directory, LogCheckpoint::kFileName), 0, -1,
           "is missing, although the log was closed; a start may have records back that were deleted"});
    }
  } else {
    report.damages.push_back(
        {fmt::format("{}/{}", directory, LogCheckpoint::kFileName), 0, -1,
         "doesn't hold what a log checkpoint holds; a start goes on without it, and may have records back "
         "that were deleted"});
  }
  if (index == nullptr) return traces;
  const auto stored = index->summaries(*id);
  if (!stored) return std::unexpected(stored.error());
  for (const SegmentSummary& summary : *stored) {
    if (std::ranges::find(traces.deleted, summary.base_offset) == traces.deleted.end())
      traces.summaries.push_back(summary);
  }
  return traces;
}

std::string told_as_short(int64_t whole_bytes) {
  return fmt::format(
      "the file ends here, and one of the journal has {} bytes: it was cut off, and groups with acknowledged "
      "records may be missing; restore it",
      whole_bytes);
}

// What is wrong with the headers of a journal file, if anything is. A kill may leave the first one blank (in
// a file that no group was written to), or from before.
std::optional<Damage> damage_of_headers(const std::string& path, Bytes content,
                                        const std::optional<JournalFileHeader>& used) {
  const Bytes first = content.first(std::min(content.size(), kJournalBlockBytes));
  const bool is_blank = std::ranges::all_of(first, [](std::byte byte) { return byte == std::byte{0}; });
  if (!used && is_blank) return std::nullopt;
  if (!used) {
    return Damage{
        path, 0, -1,
        "no sound header, neither here nor in the last block: what the file holds can't be told from "
        "what clients have sent, and a start doesn't use it"};
  }
  if (used->version > kJournalVersion)
    return Damage{path, 0, -1,
                  fmt::format("version {} of the format, which isn't known here", used->version)};
  if (used->version == 1) return std::nullopt;
  if (!is_blank && !peek_journal_file_start(content))
    return Damage{path, 0, -1, "the header's checksum is wrong; the copy in the last block is used"};
  const auto size = static_cast<int64_t>(content.size());
  const auto block_at = [&](int64_t position) -> Result<Bytes> {
    return content.subspan(static_cast<size_t>(position), kJournalBlockBytes);
  };
  if (const int64_t end = *size_before_growth(*used, size, block_at); end > 0) {
    return Damage{path, end, -1,
                  fmt::format("the file goes on here, and one of the journal ends: {} bytes were appended; a "
                              "start doesn't use them, and nothing is missing for it",
                              size - end)};
  }
  const size_t last = content.size() - std::min(content.size(), kJournalBlockBytes);
  if (last == 0 || !peek_journal_file_header(content.subspan(last))) {
    const int64_t whole = JournalDirectory::whole_bytes(size);
    if (size < whole) return Damage{path, size, -1, told_as_short(whole)};
    return Damage{path, static_cast<int64_t>(last), -1,
                  "the checksum of the header's copy is wrong; the one in the first block is used"};
  }
  return std::nullopt;
}

// Of the file at `path` and those beside it.
Result<std::vector<JournalFileContent>> all_beside(FileSystem& files, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash);
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  std::vector<JournalFileContent> all;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.is_directory || !entry.name.ends_with(JournalDirectory::kSuffix)) continue;
    const auto content = read_file(files, directory + "/" + entry.name, kJournalFileLimit);
    if (content) all.push_back(parse_journal_file(*content));
  }
  return all;
}

}  // namespace

Result<InspectionReport> inspect_segment(FileSystem& files, const std::string& path,
                                         const InspectionOptions& options, const InspectionVisitor& visitor) {
  const auto base_offset = Segment::base_offset_of(path.substr(path.rfind('/') + 1));
  const auto file = files.open(path, OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  InspectionReport report;
  SegmentInspector inspector(path, options, visitor, report);
  const auto run = inspector.run(**file, base_offset.value_or(0), std::nullopt);
  if (!run) return std::unexpected(run.error());
  return report;
}

Result<InspectionReport> inspect_partition(FileSystem& files, const std::string& directory,
                                           const OffsetIndex* index, const InspectionOptions& options,
                                           const InspectionVisitor& visitor) {
  InspectionReport report;
  const auto topic_id = read_topic_id(files, directory);
  const auto name = parse_partition_directory(std::string_view(directory).substr(directory.rfind('/') + 1));
  std::optional<TopicIdPartition> id;
  if (topic_id && name) id = TopicIdPartition{*topic_id, name->partition};
  const auto traces = find_traces(files, directory, id ? index : nullptr, id, options, report);
  if (!traces) return std::unexpected(traces.error());
  const std::vector<Loss> lost = lost_segments(*traces);
  for (const Loss& loss : lost) report.damages.push_back(damage_of(loss, directory));
  int64_t due_offset = traces->found.empty() ? traces->log_start_offset() : traces->found.front().base_offset;
  // Whether it is known why the next segment doesn't follow.
  bool is_told = !lost.empty();
  InspectionOptions chained = options;
  const CleanerCheckpoint cleaner_checkpoint(files, directory);
  chained.may_have_holes = cleaner_checkpoint.was_used();
  int64_t base_before = due_offset;
  for (size_t i = 0; i < traces->found.size(); ++i) {
    const FoundSegment& found = traces->found[i];
    const std::optional<int64_t> next_base =
        i + 1 < traces->found.size() ? std::optional(traces->found[i + 1].base_offset) : std::nullopt;
    const std::string path = traces->path_of(found.base_offset);
    if (is_merge_leftover(cleaner_checkpoint.merging(), {base_before, due_offset}, found.base_offset)) {
      report.notes.push_back(fmt::format("{} was merged into {} by a compaction: the next start removes it",
                                         path, traces->path_of(base_before)));
      continue;
    }
    if (found.base_offset < due_offset) {
      report.damages.push_back(
          {path, 0, found.base_offset,
           fmt::format("begins below offset {}, where the segment before ends", due_offset)});
    } else if (hole_before(*traces, found, due_offset) == Hole::kLost && !is_told) {
      report.damages.push_back(damage_of(lost_between(*traces, found, due_offset), directory));
    }
    const auto file = files.open(path, OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    SegmentInspector inspector(path, chained, visitor, report);
    const size_t damages_before = report.damages.size();
    const auto go_on = inspector.run(**file, found.base_offset, next_base);
    if (!go_on) return std::unexpected(go_on.error());
    if (!*go_on) return report;
    base_before = found.base_offset;
    due_offset = inspector.next_offset();
    const bool is_whole =
        report.damages.size() == damages_before && std::ranges::find(lost, path, &Loss::file) == lost.end();
    is_told = !is_whole || is_known_missing(lost, *traces, due_offset);
    const auto summary =
        std::ranges::find(traces->summaries, found.base_offset, &SegmentSummary::base_offset);
    // Of what is missing the entries lead nowhere, and that is no fault of theirs.
    if (summary == traces->summaries.end() || !is_whole) continue;
    const int64_t covered_end =
        options.clean_shutdown ? std::numeric_limits<int64_t>::max() : summary->next_offset;
    if (auto checked = check_index(*index, {*id, found.base_offset}, covered_end, path, inspector, report);
        !checked)
      return std::unexpected(checked.error());
  }
  if (is_told) return report;
  std::optional<Loss> end = lost_end(*traces, due_offset);
  if (!end && id && options.journals != nullptr) {
    end = lost_before_journal(*traces, options.journals->recovered(*id),
                              traces->checkpoint.value_or(LogCheckpoint{}).journal_floor, due_offset);
  }
  if (end) report.damages.push_back(damage_of(*end, directory));
  return report;
}

Result<InspectionReport> inspect_journal(FileSystem& files, const std::string& path,
                                         const InspectionVisitor& visitor) {
  const auto content = read_file(files, path, kJournalFileLimit);
  if (!content) return std::unexpected(content.error());
  const WholeJournalFile journal = parse_journal_file(*content);
  InspectionReport report;
  report.bytes = static_cast<int64_t>(content->size());
  if (auto damage = damage_of_headers(path, *content, journal.header)) report.damages.push_back(*damage);
  if (!journal.header) return report;
  const auto begin = static_cast<int64_t>(journal_groups_begin(journal.header->version));
  for (const JournalGroup& group : journal.groups) {
    for (const JournalEntry& entry : group.entries) {
      const auto header = protocol::read_batch_header(entry.batch);
      if (!header) continue;  // a sound group has none such
      ++report.batches;
      report.records += header->record_count;
      report.max_timestamp_ms = std::max(report.max_timestamp_ms, header->max_timestamp_ms);
      const BatchAt at{*header, group.file_position};
      if (visitor.on_journaled && !visitor.on_journaled(path, entry.partition, at)) return report;
      if (visitor.on_batch && !visitor.on_batch(path, at)) return report;
    }
  }
  bool is_damaged = journal.damaged_at > begin;
  if (journal.damaged_at == begin) {
    const auto all = all_beside(files, path);
    if (!all) return std::unexpected(all.error());
    is_damaged = begins_damaged(journal, *all);
  }
  if (is_damaged) {
    report.damages.push_back(
        {path, journal.damaged_at, -1, "a group whose checksums are wrong, with later groups behind it"});
  }
  return report;
}

}  // namespace millrace::storage
