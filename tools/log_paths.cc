#include "tools/log_paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "storage/directory_lock.h"
#include "storage/journal_directory.h"
#include "storage/log_directory.h"
#include "storage/segment.h"

namespace millrace::tools {
namespace {

std::string last_part(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

// What a data directory has about all its partitions, or why that isn't to be read.
struct Surroundings {
  std::shared_ptr<const storage::OffsetIndex> index;
  std::string in_use;
  bool clean_shutdown = false;
  std::shared_ptr<const storage::JournalDirectory> journals;
};

// What the journal has for the logs after a kill. After a clean stop nobody needs it.
void open_journals(storage::FileSystem& files, const std::string& data_directory, Surroundings& found,
                   std::vector<std::string>& notes) {
  const Result<bool> clean =
      files.exists(fmt::format("{}/{}", data_directory, storage::LogDirectory::kCleanShutdownFile));
  found.clean_shutdown = clean && *clean;
  const std::string path = fmt::format("{}/{}", data_directory, storage::LogDirectory::kJournalDirectory);
  const Result<bool> there = files.exists(path);
  if (const auto missing = storage::missing_journal(files, data_directory); missing && *missing)
    notes.push_back(**missing);
  if (found.clean_shutdown || !there || !*there) return;
  Result<std::unique_ptr<storage::JournalDirectory>> opened =
      storage::JournalDirectory::open(files, path, true);
  if (!opened) {
    notes.push_back(opened.error().message);
    return;
  }
  notes.insert(notes.end(), (*opened)->gaps().begin(), (*opened)->gaps().end());
  found.journals = std::move(*opened);
}

Surroundings look_around(storage::FileSystem& files, const std::string& data_directory,
                         std::vector<std::string>& notes) {
  Surroundings found;
  const std::string path = data_directory + "/index";
  const Result<bool> there = files.exists(path + "/CURRENT");
  if (const std::optional<std::string> owner = storage::DirectoryLock::owner(data_directory)) {
    if (there && *there)
      found.in_use = fmt::format("{}: the index is in use by the broker (pid {})", path, *owner);
    return found;
  }
  open_journals(files, data_directory, found, notes);
  if (!there || !*there) return found;
  Result<std::unique_ptr<storage::OffsetIndex>> opened = storage::OffsetIndex::open_read_only(path);
  if (opened) {
    found.index = std::move(*opened);
  } else {
    notes.push_back(fmt::format("{}: index not readable: {}", path, opened.error().message));
  }
  return found;
}

bool is_journal(std::string_view path) { return path.ends_with(storage::JournalDirectory::kSuffix); }

// By its name. Of what was set aside more stands behind the suffix: ".log.cut", and Kafka's ".log.deleted".
bool may_be_log(const std::string& path) {
  const std::string name = last_part(path) + ".";
  return name.find(fmt::format("{}.", storage::Segment::kSuffix)) != std::string::npos || is_journal(path);
}

std::unexpected<Error> not_a_log(const std::string& path) {
  return fail(ErrorCode::kInvalidRequest,
              fmt::format("{}: neither a segment file (*.log) nor a journal file (*.journal)", path));
}

bool holds_segments(const std::vector<storage::DirectoryEntry>& entries) {
  for (const storage::DirectoryEntry& entry : entries) {
    if (!entry.is_directory && storage::Segment::base_offset_of(entry.name)) return true;
  }
  return false;
}

bool holds_metadata(const std::vector<storage::DirectoryEntry>& entries) {
  return std::ranges::any_of(entries, [](const auto& entry) { return entry.name == "partition.metadata"; });
}

std::string without_segments(const std::string& path) {
  return path + ": a partition's directory without a segment file (*.log): none of its records are left here";
}

LogPath partition_log(const std::string& path, const Surroundings& found) {
  LogPath log{.path = path,
              .is_directory = true,
              .index = found.index,
              .index_in_use = found.in_use,
              .clean_shutdown = found.clean_shutdown,
              .journals = found.journals};
  if (const auto name = storage::parse_partition_directory(last_part(path))) {
    log.topic = name->topic;
    log.partition = name->partition;
  }
  return log;
}

// Adds the partitions right below `directory`.
Result<void> add_partitions(storage::FileSystem& files, const std::string& directory,
                            const Surroundings& around, std::vector<LogPath>& logs,
                            std::vector<std::string>& notes) {
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  for (const storage::DirectoryEntry& entry : *entries) {
    if (!entry.is_directory || !storage::parse_partition_directory(entry.name)) continue;
    const std::string path = directory + "/" + entry.name;
    const auto inside = files.list(path);
    if (!inside) return std::unexpected(inside.error());
    if (holds_segments(*inside)) {
      logs.push_back(partition_log(path, around));
    } else if (holds_metadata(*inside)) {
      notes.push_back(without_segments(path));
    }
  }
  return {};
}

}  // namespace

std::string parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return path == "." || path == ".." ? path + "/.." : ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::vector<LogPath>> find_logs(storage::FileSystem& files, const std::string& given,
                                       std::vector<std::string>& notes) {
  const std::string path = without_trailing_slashes(given);
  const Result<bool> there = files.exists(path);
  if (!there) return std::unexpected(there.error());
  if (!*there) return fail(ErrorCode::kInvalidRequest, fmt::format("{}: no such file or directory", path));
  const auto entries = files.list(path);
  if (!entries) {
    std::error_code unknown;
    if (std::filesystem::is_directory(path, unknown)) return std::unexpected(entries.error());
    if (!may_be_log(path)) return not_a_log(path);
    return std::vector<LogPath>{{.path = path}};
  }
  if (holds_segments(*entries)) {
    // topics/<name>-<n> below the data directory.
    return std::vector<LogPath>{partition_log(path, look_around(files, parent(parent(path)), notes))};
  }
  std::vector<LogPath> logs;
  const Surroundings around = look_around(files, path, notes);
  if (Result<void> added = add_partitions(files, path, around, logs, notes); !added)
    return std::unexpected(added.error());
  const Result<bool> ours = files.exists(path + "/topics");
  if (ours && *ours) {
    if (Result<void> added = add_partitions(files, path + "/topics", around, logs, notes); !added)
      return std::unexpected(added.error());
    return logs;
  }
  if (!logs.empty()) return logs;
  if (holds_metadata(*entries)) return fail(ErrorCode::kInvalidRequest, without_segments(path));
  return fail(
      ErrorCode::kInvalidRequest,
      fmt::format(
          "{}: neither a segment file (*.log), nor a partition's directory, nor a data directory with some",
          path));
}

Result<std::vector<LogPath>> find_journals(storage::FileSystem& files, const std::string& path) {
  const std::string directory = without_trailing_slashes(path) + "/journal";
  const Result<bool> there = files.exists(directory);
  if (!there) return std::unexpected(there.error());
  std::vector<LogPath> journals;
  if (!*there) return journals;
  const auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  for (const storage::DirectoryEntry& entry : *entries) {
    if (is_journal(entry.name)) journals.push_back({.path = directory + "/" + entry.name});
  }
  return journals;
}

Result<storage::InspectionReport> inspect(storage::FileSystem& files, const LogPath& log,
                                          const storage::InspectionOptions& options,
                                          const storage::InspectionVisitor& visitor) {
  if (is_journal(log.path)) return storage::inspect_journal(files, log.path, visitor);
  if (!log.is_directory) return storage::inspect_segment(files, log.path, options, visitor);
  storage::InspectionOptions with_surroundings = options;
  with_surroundings.clean_shutdown = log.clean_shutdown;
  with_surroundings.journals = log.journals.get();
  return storage::inspect_partition(files, log.path, log.index.get(), with_surroundings, visitor);
}

}  // namespace millrace::tools
