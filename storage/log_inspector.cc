#include "storage/log_inspector.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "storage/journal_directory.h"
#include "storage/log_directory.h"
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
  Result<bool> run(const File& file, int64_t base_offset) {
    const auto size = file.size();
    if (!size) return std::unexpected(size.error());
    ++report_.segments;
    report_.bytes += *size;
    due_offset_ = base_offset;
    BatchCursor cursor(file, 0, *size);
    while (true) {
      const int64_t position = cursor.position();
      const auto batch = cursor.next();
      if (!batch && batch.error().code != ErrorCode::kCorruptMessage) return std::unexpected(batch.error());
      if (!batch) {
        // Where the length itself is in doubt there is no telling where the next batch begins.
        damage(position, due_offset_,
               fmt::format("{} ({} bytes not looked at)", batch.error().message, *size - position));
        return true;
      }
      if (!*batch) return true;
      const auto go_on = look_at(file, **batch);
      if (!go_on || !*go_on) return go_on;
    }
  }

  // Position and largest timestamp before it, by base offset: what the index should say.
  const std::map<int64_t, IndexEntry>& batches() const { return batches_; }
  int64_t next_offset() const { return due_offset_; }

 private:
  void damage(int64_t position, int64_t offset, std::string what) {
    report_.damages.push_back({path_, position, offset, std::move(what)});
  }

  Result<bool> look_at(const File& file, const BatchAt& at) {
    const BatchHeader& header = at.header;
    if (header.base_offset < due_offset_) {
      damage(at.position, header.base_offset,
             fmt::format("base offset {} where {} or more was due", header.base_offset, due_offset_));
    }
    if (header.last_offset_delta < 0) {
      damage(at.position, header.base_offset,
             fmt::format("a last offset delta of {}", header.last_offset_delta));
    }
    batches_[header.base_offset] = {header.base_offset, at.position, max_timestamp_ms_};
    max_timestamp_ms_ = std::max(max_timestamp_ms_, header.max_timestamp_ms);
    due_offset_ = std::max(due_offset_, header.last_offset() + 1);
    ++report_.batches;
    if (report_.first_offset < 0) report_.first_offset = header.base_offset;
    report_.last_offset = std::max(report_.last_offset, header.last_offset());
    report_.max_timestamp_ms = std::max(report_.max_timestamp_ms, header.max_timestamp_ms);
    if (visitor_.on_batch && !visitor_.on_batch(path_, at)) return false;
    Buffer bytes(header.size_bytes());
    const auto read = file.read_at(bytes, at.position);
    if (!read) return std::unexpected(read.error());
    if (*read != bytes.size() || !protocol::crc_matches(bytes)) {
      damage(at.position, header.base_offset,
             fmt::format("the batch's CRC is {:08x}, not that of its contents", header.crc));
      return true;
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
  int64_t due_offset_ = 0;
  int64_t max_timestamp_ms_ = -1;
  std::map<int64_t, IndexEntry> batches_;
};

Result<> check_index(const OffsetIndex& index, const SegmentKey& key, const std::string& path,
                     const SegmentInspector& segment, InspectionReport& report) {
  const auto entries = index.entries(key);
  if (!entries) return std::unexpected(entries.error());
  for (const IndexEntry& entry : *entries) {
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
  const size_t last = content.size() - std::min(content.size(), kJournalBlockBytes);
  if (!peek_journal_file_header(content.subspan(last))) {
    return Damage{path, static_cast<int64_t>(last), -1,
                  "the checksum of the header's copy is wrong; the one in the first block is used"};
  }
  return std::nullopt;
}

// Of the file at `path` and those beside it.
Result<std::vector<JournalFileEnds>> ends_of_all(FileSystem& files, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash);
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  std::vector<JournalFileEnds> all;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.is_directory || !entry.name.ends_with(JournalDirectory::kSuffix)) continue;
    const auto content = read_file(files, directory + "/" + entry.name, kJournalFileLimit);
    if (content) all.push_back(ends_of(*content, parse_journal_file(*content)));
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
  const auto run = inspector.run(**file, base_offset.value_or(0));
  if (!run) return std::unexpected(run.error());
  return report;
}

Result<InspectionReport> inspect_partition(FileSystem& files, const std::string& directory,
                                           const OffsetIndex* index, const InspectionOptions& options,
                                           const InspectionVisitor& visitor) {
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  const auto topic_id = read_topic_id(files, directory);
  const auto name = parse_partition_directory(std::string_view(directory).substr(directory.rfind('/') + 1));
  InspectionReport report;
  std::vector<SegmentSummary> summaries;
  if (index != nullptr && topic_id && name) {
    const auto stored = index->summaries({*topic_id, name->partition});
    if (!stored) return std::unexpected(stored.error());
    summaries = *stored;
  }
  int64_t due_offset = 0;
  for (const DirectoryEntry& entry : *entries) {
    const auto base_offset = Segment::base_offset_of(entry.name);
    if (!base_offset) continue;
    const std::string path = directory + "/" + entry.name;
    if (*base_offset < due_offset) {
      report.damages.push_back(
          {path, 0, *base_offset,
           fmt::format("begins below offset {}, where the segment before ends", due_offset)});
    }
    const auto file = files.open(path, OpenMode::kRead);
    if (!file) return std::unexpected(file.error());
    SegmentInspector inspector(path, options, visitor, report);
    const auto go_on = inspector.run(**file, *base_offset);
    if (!go_on) return std::unexpected(go_on.error());
    if (!*go_on) return report;
    due_offset = inspector.next_offset();
    for (const SegmentSummary& summary : summaries) {
      if (summary.base_offset != *base_offset) continue;
      const auto checked =
          check_index(*index, {{*topic_id, name->partition}, *base_offset}, path, inspector, report);
      if (!checked) return std::unexpected(checked.error());
    }
  }
  return report;
}

Result<InspectionReport> inspect_journal(FileSystem& files, const std::string& path,
                                         const InspectionVisitor& visitor) {
  const auto content = read_file(files, path, kJournalFileLimit);
  if (!content) return std::unexpected(content.error());
  const JournalFileContent journal = parse_journal_file(*content);
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
      if (visitor.on_batch && !visitor.on_batch(path, {*header, group.file_position})) return report;
    }
  }
  bool is_damaged = journal.damaged_at > begin;
  if (journal.damaged_at == begin) {
    const auto all = ends_of_all(files, path);
    if (!all) return std::unexpected(all.error());
    is_damaged = begins_damaged(ends_of(*content, journal), *all);
  }
  if (is_damaged) {
    report.damages.push_back(
        {path, journal.damaged_at, -1, "a group whose checksums are wrong, with later groups behind it"});
  }
  return report;
}

}  // namespace millrace::storage
