#include "tests/bench/floor_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <system_error>

#include "tests/bench/floor_wire.h"

namespace millrace::bench {
namespace {

constexpr off_t kJournalBytes = 16 << 20;
// A group with more bytes per file than this is cheaper to sync where it is than to write twice.
constexpr size_t kJournaledBytesPerFile = 64 << 10;
constexpr size_t kLargestJournaledGroup = 4 << 20;
constexpr size_t kBlockSize = 4096;

int checked(ssize_t result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return static_cast<int>(result);
}

void write_all(int fd, std::span<iovec> parts, off_t position) {
  while (!parts.empty()) {
    const size_t some = std::min<size_t>(parts.size(), IOV_MAX);
    ssize_t written = ::pwritev(fd, parts.data(), static_cast<int>(some), position);
    checked(written, "pwritev");
    position += written;
    while (!parts.empty() && static_cast<size_t>(written) >= parts.front().iov_len) {
      written -= static_cast<ssize_t>(parts.front().iov_len);
      parts = parts.subspan(1);
    }
    if (written > 0) {
      parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + written;
      parts.front().iov_len -= static_cast<size_t>(written);
    }
  }
}

}  // namespace

FloorStore::FloorStore(std::string directory, bool sync) : directory_(std::move(directory)), sync_(sync) {
  if (!sync_) return;
  journal_ = checked(::open((directory_ + "/journal").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600), "journal");
  Buffer zeros(1 << 20);
  for (off_t at = 0; at < kJournalBytes; at += static_cast<off_t>(zeros.size())) {
    checked(::pwrite(journal_, zeros.data(), zeros.size(), at), "journal");
  }
  checked(::fsync(journal_), "fsync");
  ::close(journal_);
  // Past the page cache: such a write waits for itself alone, fdatasync for whatever else the disk has to do.
  const std::string path = directory_ + "/journal";
  journal_ = ::open(path.c_str(), O_RDWR | O_DSYNC | O_DIRECT);
  if (journal_ < 0) journal_ = checked(::open(path.c_str(), O_RDWR | O_DSYNC), "journal");
  block_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockSize, kLargestJournaledGroup)));
}

FloorStore::~FloorStore() {
  for (auto& [name, topic] : topics_) {
    for (auto& [index, partition] : topic) ::close(partition.fd);
  }
  if (journal_ >= 0) ::close(journal_);
}

FloorStore::Partition& FloorStore::open(std::string_view topic, int32_t index) {
  auto found = topics_.find(topic);
  if (found == topics_.end()) found = topics_.emplace(std::string(topic), Topic()).first;
  Partition& partition = found->second[index];
  if (partition.fd < 0) {
    const std::string path = directory_ + "/" + std::string(topic) + "-" + std::to_string(index);
    partition.fd = checked(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600), path.c_str());
  }
  return partition;
}

int64_t FloorStore::append(std::string_view topic, int32_t index, MutableBytes batch, int32_t records) {
  Partition& partition = open(topic, index);
  const Batch last = partition.batches.empty() ? Batch{0, 0} : partition.batches.back();
  write_base_offset(batch, last.end_offset);
  iovec part{batch.data(), batch.size()};
  write_all(partition.fd, {&part, 1}, last.end_position);
  partition.batches.push_back(
      {last.end_offset + records, last.end_position + static_cast<off_t>(batch.size())});
  if (!partition.dirty) dirty_.push_back(&partition);
  partition.dirty = true;
  if (sync_) group_.push_back({batch.data(), batch.size()});
  group_bytes_ += batch.size();
  return last.end_offset;
}

void FloorStore::commit() {
  if (dirty_.empty()) return;
  if (sync_ && group_bytes_ <= std::min(kJournaledBytesPerFile * dirty_.size(), kLargestJournaledGroup)) {
    write_journal();
  } else if (sync_) {
    for (const Partition* partition : dirty_) checked(::fdatasync(partition->fd), "fdatasync");
  }
  for (Partition* partition : dirty_) {
    partition->committed = partition->batches.size();
    partition->dirty = false;
  }
  dirty_.clear();
  group_.clear();
  group_bytes_ = 0;
}

// The journal begins anew when it is full: what a real one may only do after a checkpoint.
void FloorStore::write_journal() {
  size_t size = 0;
  for (const iovec& part : group_) {
    std::memcpy(block_.get() + size, part.iov_base, part.iov_len);
    size += part.iov_len;
  }
  const size_t whole_blocks = (size + kBlockSize - 1) / kBlockSize * kBlockSize;
  if (journal_end_ + static_cast<off_t>(whole_blocks) > kJournalBytes) journal_end_ = 0;
  iovec blocks{block_.get(), whole_blocks};
  write_all(journal_, {&blocks, 1}, journal_end_);
  journal_end_ += static_cast<off_t>(whole_blocks);
}

StoredPart FloorStore::find(std::string_view topic, int32_t index, int64_t offset, size_t max_bytes) const {
  StoredPart part;
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return part;
  const auto at = found->second.find(index);
  if (at == found->second.end() || at->second.committed == 0) return part;
  const Partition& partition = at->second;
  const auto begin = partition.batches.begin();
  const auto end = begin + static_cast<ptrdiff_t>(partition.committed);
  part.fd = partition.fd;
  part.end_offset = std::prev(end)->end_offset;
  const auto first =
      std::upper_bound(begin, end, offset, [](int64_t o, const Batch& b) { return o < b.end_offset; });
  if (first == end) return part;
  part.position = first == begin ? 0 : std::prev(first)->end_position;
  const off_t limit = part.position + static_cast<off_t>(max_bytes);
  auto last = std::upper_bound(first, end, limit, [](off_t p, const Batch& b) { return p < b.end_position; });
  if (last == first) ++last;
  part.size = static_cast<size_t>(std::prev(last)->end_position - part.position);
  return part;
}

}  // namespace millrace::bench
