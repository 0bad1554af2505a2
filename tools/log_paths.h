// Which logs a path on the command line means: a segment file, a partition's directory, or a data directory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/file_system.h"
#include "storage/journal_directory.h"
#include "storage/log_inspector.h"
#include "storage/offset_index.h"

namespace millrace::tools {

struct LogPath {
  std::string path;
  bool is_directory = false;
  // From the directory's name; empty and -1 for a file by itself.
  std::string topic;
  int32_t partition = -1;
  // The index of the data directory around it; null where there is none, and while a broker runs there: what
  // it has on disk is behind, and files of it go while they are read.
  std::shared_ptr<const storage::OffsetIndex> index;
  // "<path>: the index is in use by the broker (pid 7)", or empty.
  std::string index_in_use = {};
  // Whether the data directory's last broker stopped cleanly, and its journal if not; null as above.
  bool clean_shutdown = false;
  std::shared_ptr<const storage::JournalDirectory> journals = {};
};

// The directory that `path` is in, as a path.
std::string parent(const std::string& path);

// A data directory (ours, with topics/, which may be empty, or Kafka's) stands for all partitions in it.
// kInvalidRequest for a path with neither segments nor partitions, kKafkaStorageError for what can't be read.
// What can't be opened of an index, and partitions without a segment, are told in `notes`.
Result<std::vector<LogPath>> find_logs(storage::FileSystem& files, const std::string& path,
                                       std::vector<std::string>& notes);

// The journal files of the data directory at `path`; none for any other path.
Result<std::vector<LogPath>> find_journals(storage::FileSystem& files, const std::string& path);

// inspect_segment, inspect_partition or inspect_journal, as the path is.
Result<storage::InspectionReport> inspect(storage::FileSystem& files, const LogPath& log,
                                          const storage::InspectionOptions& options,
                                          const storage::InspectionVisitor& visitor);

}  // namespace millrace::tools
