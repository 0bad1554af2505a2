#include "broker/replication/read_trouble.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "broker/runtime/logging.h"
#include "broker/runtime/shard.h"
#include "storage/log.h"

namespace millrace::replication {
namespace {

// What is read may have to be written first (storage/write_behind.h).
std::string advice(const std::string& directory, const Error& error) {
  if (storage::is_full_disk(error))
    return "What was acknowledged is in the journal, and is served again then";
  return fmt::format(
      "Put back what is missing or damaged (what can't be opened is tried again with each read), or see with "
      "`millrace log verify {}` what is sound",
      directory);
}

// A hint that the line has with the directory.
std::string_view without_hint(std::string_view message) {
  return message.substr(0, message.find("; `millrace log verify`"));
}

}  // namespace

bool ReadTrouble::failed(const runtime::Clock& clock, const std::string& directory, int64_t offset,
                         const Error& error) {
  if (error.code != ErrorCode::kKafkaStorageError && error.code != ErrorCode::kCorruptMessage) return false;
  const int64_t now_ns = clock.monotonic_ns();
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMostKnown) known_.clear();
  Known& known = known_[directory + ' ' + error.message];
  const bool is_told = known.told_ns && now_ns - *known.told_ns < kRepeatMs * runtime::kNanosPerMs;
  if (is_told || !lines_.admit(now_ns)) {
    ++known.left_out;
    return false;
  }
  known.told_ns = now_ns;
  const uint64_t left_out = std::exchange(known.left_out, 0);
  runtime::log_error(
      "{} can't be read{}: {}. Readers are told {}. {}{}", directory.substr(directory.rfind('/') + 1),
      offset < 0 ? "" : fmt::format(" at offset {}", offset), without_hint(error.message),
      error_name(error.code), advice(directory, error),
      left_out == 0 ? ""
                    : fmt::format(" ({} more reads have failed like this since the last line)", left_out));
  return true;
}

void note_failed_read(const storage::Log& log, int64_t offset, const Error& error) {
  static ReadTrouble trouble;
  trouble.failed(runtime::Shard::current()->clock(), log.directory(), offset, error);
}

}  // namespace millrace::replication
