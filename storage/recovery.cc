#include "storage/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "storage/checksummed_text.h"
#include "storage/forward_reader.h"

namespace millrace::storage {
namespace {

using protocol::BatchHeader;

constexpr int64_t kCheckpointLimit = 4096;

}  // namespace

std::string length_damage(const BatchHeader& header, int64_t bytes_left) {
  const auto size = static_cast<int64_t>(header.size_bytes());
  if (size <= bytes_left) return {};
  return fmt::format("a batch of {} bytes where only {} are left", size, bytes_left);
}

std::string crc_damage(const BatchHeader& header) {
  return fmt::format("the CRC of the batch with base offset {} isn't that of its contents",
                     header.base_offset);
}

Result<ScanResult> scan_segment(const File& file, int64_t position, OffsetChain chain,
                                const std::function<void(const BatchHeader&)>& visit) {
  const auto size = file.size();
  if (!size) return std::unexpected(size.error());
  ForwardReader reader(file, *size);
  ScanResult result{.valid_bytes = position, .damage = {}};
  // Whether the batch at the end of what is valid, whose offsets are wrong, belongs there.
  const auto is_misplaced = [&](const BatchHeader& header) -> Result<bool> {
    const auto next_at = result.valid_bytes + static_cast<int64_t>(header.size_bytes());
    if (next_at == *size) return chain.is_proven_by(header, nullptr);
    const auto start = reader.at(next_at, BatchHeader::kSize);
    if (!start) return std::unexpected(start.error());
    const auto next = protocol::peek_batch_header(*start);
    return next && chain.is_proven_by(header, &*next);
  };
  while (result.valid_bytes < *size) {
    const auto start = reader.at(result.valid_bytes, BatchHeader::kSize);
    if (!start) return std::unexpected(start.error());
    const auto header = protocol::peek_batch_header(*start);
    if (!header) {
      result.damage = header.error().message;
      break;
    }
    result.damage = length_damage(*header, *size - result.valid_bytes);
    if (!result.damage.empty()) break;
    const auto batch = reader.at(result.valid_bytes, header->size_bytes());
    if (!batch) return std::unexpected(batch.error());
    if (batch->size() < header->size_bytes() || !protocol::crc_matches(*batch)) {
      result.damage = crc_damage(*header);
      break;
    }
    result.damage = chain.damage(*header);
    if (!result.damage.empty()) {
      const auto misplaced = is_misplaced(*header);
      if (!misplaced) return std::unexpected(misplaced.error());
      result.has_sound_contents = true;
      result.is_misplaced = *misplaced;
      break;
    }
    visit(*header);
    result.valid_bytes += static_cast<int64_t>(header->size_bytes());
    chain.pass(*header);
  }
  return result;
}

Result<std::optional<LogCheckpoint>> load_checkpoint(FileSystem& files, const std::string& directory) {
  const std::string path = fmt::format("{}/{}", directory, LogCheckpoint::kFileName);
  const auto exists = files.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return std::nullopt;
  const auto damaged = [&path] {
    return fail(ErrorCode::kCorruptMessage, path + " doesn't hold what a log checkpoint holds");
  };
  const auto status = files.status(path);
  if (!status) return std::unexpected(status.error());
  if (status->size > kCheckpointLimit) return damaged();
  const auto content = read_file(files, path, kCheckpointLimit);
  if (!content) return std::unexpected(content.error());
  const auto text = without_checksum(as_text(*content));
  long long start = 0;
  long long recovery_point = 0;
  unsigned long long run = 0;
  unsigned long long number = 0;
  int exact = 0;
  const int fields =
      text ? std::sscanf(text->c_str(),
                         "version 1\nlog_start_offset %lld\nrecovery_point %lld\njournal_floor %llu %llu\n"
                         "start_is_exact %d",
                         &start, &recovery_point, &run, &number, &exact)
           : 0;
  if (fields < 4 || start < 0 || recovery_point < 0) return damaged();
  return LogCheckpoint{start, recovery_point, {run, number}, fields == 5 && exact == 1};
}

Result<> store_checkpoint(FileSystem& files, const std::string& directory, const LogCheckpoint& checkpoint) {
  const std::string text = with_checksum(fmt::format(
      "version 1\nlog_start_offset {}\nrecovery_point {}\njournal_floor {} {}\nstart_is_exact 1\n",
      checkpoint.log_start_offset, checkpoint.recovery_point, checkpoint.journal_floor.run,
      checkpoint.journal_floor.number));
  return replace_file(files, fmt::format("{}/{}", directory, LogCheckpoint::kFileName), as_bytes(text));
}

Result<> LogCheckpointFile::store(const LogCheckpoint& checkpoint, uint64_t version) {
  const std::lock_guard lock(mutex_);
  if (closed_ || version < stored_version_) return {};
  if (auto stored = store_checkpoint(files_, directory_, checkpoint); !stored) return stored;
  stored_version_ = version;
  return {};
}

void LogCheckpointFile::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

}  // namespace millrace::storage
