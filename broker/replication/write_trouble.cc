#include "broker/replication/write_trouble.h"

#include "broker/runtime/logging.h"
#include "storage/file_system.h"
#include "storage/system_error.h"

namespace millrace::replication {

void WriteTrouble::failed(const runtime::Clock& clock, std::string_view log, const Error& error) {
  if (!storage::is_full_disk(error)) {
    return other_failures_.write(clock, "{} can't be written: {}", log, error.message);
  }
  const std::lock_guard lock(mutex_);
  last_failure_ns_ = clock.monotonic_ns();
  refused_.fetch_add(1);
  if (full_.exchange(true)) return;
  is_limit_ = storage::is_at_file_size_limit(error);
  began_ns_ = last_failure_ns_;
  refused_before_ = refused_.load() - 1;
  runtime::log_error(
      "{}: records are refused with KAFKA_STORAGE_ERROR, which clients try again, and reads go on. This line "
      "comes once, and another when {}. The first to fail was {}: {}",
      is_limit_ ? "A file may not grow any further" : "The disk is full",
      is_limit_ ? "all can be written again" : "there is space again", log, error.message);
}

void WriteTrouble::note_success(const runtime::Clock& clock) {
  const std::lock_guard lock(mutex_);
  const int64_t now_ns = clock.monotonic_ns();
  if (!full_.load() || now_ns - last_failure_ns_ < kQuietMs * runtime::kNanosPerMs) return;
  full_.store(false);
  runtime::log_info(
      "{}. That took {} s at most, and {} batches were refused",
      is_limit_ ? "All records can be written again" : "The disk has space again: records are written",
      (now_ns - began_ns_) / (1000 * runtime::kNanosPerMs), refused_.load() - refused_before_);
}

}  // namespace millrace::replication
