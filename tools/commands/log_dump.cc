// millrace log dump: what stands in segment files, offline: batches, records or index entries.
#include <fmt/format.h>

#include <unordered_map>

#include "storage/log_directory.h"
#include "storage/segment.h"
#include "tools/commands/rows.h"
#include "tools/interrupt.h"
#include "tools/log_dump_writer.h"
#include "tools/log_paths.h"
#include "tools/position.h"
#include "tools/record_json.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "log dump";
constexpr std::string_view kRecordFormat = "%o\\t%T\\t%k\\t%s\\n";

struct Bounds {
  int64_t from = 0;
  // Exclusive.
  int64_t to = INT64_MAX;
};

// A log's own beginning, end and times, for positions that aren't offsets.
Result<int64_t> find_offset(storage::FileSystem& files, const LogPath& log, const Position& position) {
  using Kind = Position::Kind;
  if (position.kind == Kind::kStart) return 0;
  if (position.kind == Kind::kOffset) return position.value;
  int64_t by_time = -1;
  storage::InspectionVisitor visitor;
  visitor.on_batch = [&](const std::string&, const storage::BatchAt& at) {
    if (by_time < 0 && at.header.max_timestamp_ms >= position.value) by_time = at.header.base_offset;
    return !interrupted();
  };
  storage::InspectionOptions options;
  options.check_records = false;
  Result<storage::InspectionReport> report = inspect(files, log, options, visitor);
  if (!report) return std::unexpected(report.error());
  const int64_t end = report->last_offset + 1;
  if (position.kind == Kind::kTimestamp && by_time >= 0) return by_time;
  return position.kind == Kind::kBeforeEnd ? std::max<int64_t>(0, end - position.value) : end;
}

Result<Bounds> find_bounds(storage::FileSystem& files, const LogPath& log, const Range& range) {
  Bounds bounds;
  const Result<int64_t> from = find_offset(files, log, range.from);
  if (!from) return std::unexpected(from.error());
  bounds.from = *from;
  if (!range.to) return bounds;
  const Result<int64_t> to = find_offset(files, log, *range.to);
  if (!to) return std::unexpected(to.error());
  bounds.to = *to;
  return bounds;
}

class Dump {
 public:
  Dump(storage::FileSystem& files, const Arguments& arguments, Console& console, OutputFormat format)
      : files_(files),
        console_(console),
        format_(std::move(format)),
        json_(arguments.text("output") == "json"),
        records_(arguments.has("records")) {}

  Result<void> batches(const LogPath& log, const Bounds& bounds) {
    std::string last_file;
    std::vector<HeaderView> headers;
    std::string out;
    const auto flush = [&] {
      console_.write(out);
      out.clear();
    };
    storage::InspectionVisitor visitor;
    // Of a journal's batch; empty for a segment's.
    std::string partition;
    visitor.on_journaled = [&](const std::string& file, const TopicIdPartition& id, const storage::BatchAt&) {
      partition = name_of(file, id);
      return true;
    };
    visitor.on_batch = [&](const std::string& file, const storage::BatchAt& at) {
      if (interrupted()) return false;
      // In a journal the batches of many partitions stand side by side.
      if (at.header.base_offset >= bounds.to) return !partition.empty();
      if (at.header.last_offset() < bounds.from || records_) return true;
      if (json_) {
        out += batch_json(file, at, partition);
      } else {
        if (file != last_file)
          out += (last_file.empty() ? "" : "\n") + file + "\n" + batch_table_head(!partition.empty());
        out += batch_line(at, partition);
      }
      last_file = file;
      if (out.size() > kFlushBytes) flush();
      return true;
    };
    if (records_) {
      visitor.on_record = [&](const storage::BatchAt& at, const protocol::RecordView& record) {
        if (record.offset < bounds.from || record.offset >= bounds.to) return true;
        const ConsumedRecord consumed = as_consumed(record, at, log.topic, log.partition, headers);
        json_ ? append_record_json(out, consumed) : format_.append(out, consumed);
        if (out.size() > kFlushBytes) flush();
        return !interrupted();
      };
    }
    Result<storage::InspectionReport> report = inspect(files_, log, {}, visitor);
    flush();
    if (!report) return std::unexpected(report.error());
    for (const storage::Damage& damage : report->damages) {
      console_.complain(kName, fmt::format("{}: at byte {}: {}", damage.file, damage.position, damage.what));
      damaged_ = true;
    }
    return {};
  }

  Result<void> index(const LogPath& log, const Bounds& bounds) {
    if (!log.is_directory)
      return fail(ErrorCode::kInvalidRequest,
                  fmt::format("{}: the index belongs to the whole partition; give its directory", log.path));
    if (!log.index_in_use.empty())
      return fail(ErrorCode::kInvalidRequest, log.index_in_use + " and is not shown while that runs");
    if (log.index == nullptr)
      return fail(ErrorCode::kInvalidRequest,
                  fmt::format("{}: no index in the data directory around it", log.path));
    const Result<Uuid> topic_id = storage::read_topic_id(files_, log.path);
    if (!topic_id) return std::unexpected(topic_id.error());
    const TopicIdPartition partition{*topic_id, log.partition};
    const auto summaries = log.index->summaries(partition);
    if (!summaries) return std::unexpected(summaries.error());
    for (const storage::SegmentSummary& summary : *summaries) {
      const std::string file = log.path + "/" + storage::Segment::file_name(summary.base_offset);
      const auto entries = log.index->entries({partition, summary.base_offset});
      if (!entries) return std::unexpected(entries.error());
      if (!json_)
        console_.write(fmt::format("{}: {} entries, next offset {}\n{}", file, entries->size(),
                                   summary.next_offset, index_table_head()));
      for (const storage::IndexEntry& entry : *entries) {
        if (entry.offset < bounds.from || entry.offset >= bounds.to) continue;
        console_.write(json_ ? index_json(file, entry) : index_line(entry));
      }
    }
    if (summaries->empty())
      console_.note(fmt::format(
          "{}: no segment is covered by the index (the active one is indexed in memory)", log.path));
    return {};
  }

  bool damaged() const { return damaged_; }

 private:
  static constexpr size_t kFlushBytes = 64 * 1024;

  // "orders-3" where the data directory around the journal's file has that partition, else its topic's id.
  const std::string& name_of(const std::string& journal_file, const TopicIdPartition& id) {
    auto [name, is_new] = names_.try_emplace(id);
    if (!is_new) return name->second;
    name->second = fmt::format("{}-{}", id.topic_id.to_string(), id.partition);
    const std::string topics = parent(parent(journal_file)) + "/topics";
    const auto entries = files_.list(topics);
    if (!entries) return name->second;
    for (const storage::DirectoryEntry& entry : *entries) {
      const auto found = storage::parse_partition_directory(entry.name);
      if (!found || found->partition != id.partition) continue;
      const Result<Uuid> topic_id = storage::read_topic_id(files_, topics + "/" + entry.name);
      if (topic_id && *topic_id == id.topic_id) name->second = entry.name;
    }
    return name->second;
  }

  storage::FileSystem& files_;
  Console& console_;
  OutputFormat format_;
  bool json_;
  bool records_;
  bool damaged_ = false;
  std::unordered_map<TopicIdPartition, std::string> names_;
};

int run(const Arguments& arguments, Console& console) {
  Result<OutputFormat> format = OutputFormat::parse(arguments.text("format", std::string(kRecordFormat)));
  const Result<Range> range = parse_range(arguments.text("offset"), wall_clock_ms());
  if (!format || !range) {
    console.complain(kName, !format ? format.error().message : range.error().message);
    return kExitUsage;
  }
  const InterruptScope interrupts;
  storage::PosixFileSystem files;
  Dump dump(files, arguments, console, std::move(*format));
  int code = kExitDone;
  const auto complain = [&](const std::string& message) {
    console.complain(kName, message);
    code = kExitFailed;
  };
  for (const std::string& path : arguments.all("path")) {
    std::vector<std::string> notes;
    const Result<std::vector<LogPath>> logs = find_logs(files, path, notes);
    for (const std::string& note : notes) console.note(note);
    if (!logs) complain(logs.error().message);
    for (const LogPath& log : logs ? *logs : std::vector<LogPath>{}) {
      if (interrupted()) break;
      const Result<Bounds> bounds = find_bounds(files, log, *range);
      const Result<void> dumped = !bounds                  ? std::unexpected(bounds.error())
                                  : arguments.has("index") ? dump.index(log, *bounds)
                                                           : dump.batches(log, *bounds);
      if (!dumped) complain(dumped.error().message);
    }
  }
  return dump.damaged() ? kExitFailed : code;
}

}  // namespace

Command log_dump_command() {
  return {.path = "log dump",
          .summary = "Show what stands in logs, offline: batches, records, index",
          .details =
              "PATH is a segment file, a partition's directory, or a data directory with all partitions in "
              "it; Kafka's work\n"
              "too. It only reads. Damage is told on stderr, and makes the exit code 1.\n\n" +
              std::string(kPositionHelp) + std::string(kRangeHelp) + "\n" + std::string(kOutputFormatHelp),
          .options =
              {
                  {.names = "path",
                   .aliases = "--files",
                   .value = "PATH",
                   .help = "What to show",
                   .positional = true,
                   .required = true,
                   .repeatable = true,
                   .completion = Completion::kFile},
                  {.names = "-r,--records",
                   .aliases = "--print-data-log",
                   .help = "The records instead of the batches"},
                  {.names = "-i,--index", .help = "The entries of the offset index instead"},
                  {.names = "-o,--offset",
                   .value = "POSITION",
                   .help = "Where to start, or a range; see below",
                   .fallback = "start",
                   .check = range_value()},
                  {.names = "-F,--format",
                   .value = "FORMAT",
                   .help = "How to write records [%o\\t%T\\t%k\\t%s\\n]; see below"},
                  {.names = "--output",
                   .value = "FORMAT",
                   .help = "For people, or one JSON object per line",
                   .fallback = "table",
                   .choices = {"table", "json"}},
              },
          .run = run};
}

}  // namespace millrace::tools
