#include "broker/metadata/acknowledged_revision.h"

#include <fmt/format.h>

#include <charconv>

#include "storage/checksummed_text.h"

namespace millrace::metadata {
namespace {

constexpr std::string_view kBegin = "version 0\nrevision ";
constexpr size_t kMaxBytes = 4096;

// Always of one length, so that it is written over what was there.
std::string text_of(int64_t revision) {
  return storage::with_checksum(fmt::format("{}{:019}\n", kBegin, revision));
}

}  // namespace

AcknowledgedRevision::AcknowledgedRevision(const std::string& directory)
    : path_(fmt::format("{}/{}", directory, kFile)) {}

int64_t AcknowledgedRevision::read() {
  const auto bytes = storage::read_file(files_, path_, kMaxBytes);
  if (!bytes) return 0;
  const auto text = storage::without_checksum(as_text(*bytes));
  if (!text || !text->starts_with(kBegin)) return 0;
  int64_t revision = 0;
  (void)std::from_chars(text->data() + kBegin.size(), text->data() + text->size(), revision);
  return revision;
}

void AcknowledgedRevision::write(int64_t revision) {
  if (!file_) {
    auto opened = files_.open(path_, storage::OpenMode::kCreate);
    if (!opened) return;
    file_ = std::move(*opened);
    // One that was damaged may be longer.
    (void)file_->truncate(static_cast<int64_t>(text_of(0).size()));
  }
  const std::string text = text_of(revision);
  const Bytes pieces[] = {as_bytes(text)};
  (void)file_->write_at(pieces, 0);
}

}  // namespace millrace::metadata
