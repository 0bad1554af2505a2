// millrace log verify: reads logs offline and says whether they are sound.
#include <fmt/format.h>

#include "tools/commands/rows.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/log_paths.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "log verify";

struct Verdict {
  LogPath log;
  storage::InspectionReport report;
};

std::string offsets(const storage::InspectionReport& report) {
  return report.first_offset < 0 ? "-" : fmt::format("{}-{}", report.first_offset, report.last_offset);
}

std::string as_table(const std::vector<Verdict>& verdicts, bool colour) {
  Table table({"LOG", ">SEGMENTS", ">BATCHES", ">RECORDS", ">SIZE", "OFFSETS", ">INDEX", "STATE"});
  for (const Verdict& verdict : verdicts) {
    const storage::InspectionReport& report = verdict.report;
    table.add({verdict.log.path, std::to_string(report.segments), format_count(report.batches),
               format_count(report.records), format_size(static_cast<double>(report.bytes)), offsets(report),
               verdict.log.index == nullptr ? "-" : format_count(report.index_entries),
               report.damages.empty() ? "sound" : fmt::format("{} damaged", report.damages.size())});
  }
  return table.render(colour);
}

std::string as_json(const std::vector<Verdict>& verdicts) {
  const auto or_null = [](int64_t value) { return value < 0 ? Json() : Json(value); };
  Json list = Json::list();
  for (const Verdict& verdict : verdicts) {
    const storage::InspectionReport& report = verdict.report;
    Json item = Json::object();
    item.set("path", verdict.log.path)
        .set("topic", verdict.log.topic.empty() ? Json() : Json(verdict.log.topic));
    item.set("partition", or_null(verdict.log.partition)).set("sound", report.damages.empty());
    item.set("segments", report.segments).set("batches", report.batches).set("records", report.records);
    item.set("bytes", report.bytes)
        .set("first_offset", or_null(report.first_offset))
        .set("last_offset", or_null(report.last_offset));
    item.set("max_timestamp", or_null(report.max_timestamp_ms));
    item.set("index_entries", verdict.log.index == nullptr ? Json() : Json(report.index_entries));
    Json damages = Json::list();
    for (const storage::Damage& damage : report.damages) {
      Json entry = Json::object();
      entry.set("file", damage.file)
          .set("position", damage.position)
          .set("offset", or_null(damage.offset))
          .set("what", damage.what);
      damages.push(std::move(entry));
    }
    Json notes = Json::list();
    for (const std::string& note : report.notes) notes.push(note);
    list.push(std::move(item.set("damages", std::move(damages)).set("notes", std::move(notes))));
  }
  return list.dump(2) + "\n";
}

int run(const Arguments& arguments, Console& console) {
  storage::PosixFileSystem files;
  const InterruptScope interrupts;
  storage::InspectionOptions options;
  options.check_records = !arguments.has("headers-only");
  std::vector<Verdict> verdicts;
  int code = kExitDone;
  Progress progress(console, "records", 0, true);
  storage::InspectionVisitor visitor;
  visitor.on_batch = [&](const std::string&, const storage::BatchAt& at) {
    progress.add(at.header.record_count, static_cast<int64_t>(at.header.size_bytes()));
    return !interrupted();
  };
  const auto complain = [&](const std::string& message) {
    progress.clear();
    console.complain(kName, message);
    code = kExitFailed;
  };
  for (const std::string& path : arguments.all("path")) {
    std::vector<std::string> notes;
    Result<std::vector<LogPath>> logs = find_logs(files, path, notes);
    for (const std::string& note : notes) complain(note);
    const Result<std::vector<LogPath>> journals = find_journals(files, path);
    if (!logs || !journals) {
      complain(!logs ? logs.error().message : journals.error().message);
      continue;
    }
    logs->insert(logs->end(), journals->begin(), journals->end());
    if (!logs->empty() && !logs->front().index_in_use.empty()) {
      progress.clear();
      console.note(logs->front().index_in_use + " and was not checked");
    }
    for (const LogPath& log : *logs) {
      Result<storage::InspectionReport> report = inspect(files, log, options, visitor);
      if (interrupted()) return kExitFailed;
      if (!report) {
        complain(report.error().message);
        continue;
      }
      for (const std::string& note : report->notes) {
        progress.clear();
        console.note(note);
      }
      for (const storage::Damage& damage : report->damages) {
        complain(fmt::format("{}: at byte {}{}: {}", damage.file, damage.position,
                             damage.offset < 0 ? "" : fmt::format(", offset {}", damage.offset),
                             damage.what));
      }
      verdicts.push_back({log, std::move(*report)});
    }
  }
  progress.clear();
  // What could not be read has been told already; a table without rows says nothing.
  if (arguments.text("output") == "json") {
    console.write(as_json(verdicts));
  } else if (!verdicts.empty()) {
    console.write(as_table(verdicts, console.colour_out));
  }
  return code;
}

}  // namespace

Command log_verify_command() {
  return {
      .path = "log verify",
      .summary = "Check logs offline: checksums, offsets, records, index, journal",
      .details =
          "PATH is a segment file, a partition's directory, a journal file, or a data directory with all of "
          "these in it;\n"
          "Kafka's work too. It only reads. Below a running broker the end of a log may look torn, and the "
          "index "
          "is not\n"
          "checked.\n"
          "Exit code 1 when anything is damaged.\n",
      .options =
          {
              {.names = "path",
               .value = "PATH",
               .help = "What to check",
               .positional = true,
               .required = true,
               .repeatable = true,
               .completion = Completion::kFile},
              {.names = "--headers-only",
               .help = "Checksums and headers, without reading the records inside"},
              {.names = "--output",
               .value = "FORMAT",
               .help = "For people or for programs",
               .fallback = "table",
               .choices = {"table", "json"}},
          },
      .run = run};
}

}  // namespace millrace::tools
