// The floor's logs: one file per partition and, when it syncs, one journal that all share.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::bench {

// What one fetch gets of one partition: adjacent whole batches.
struct StoredPart {
  int fd = -1;
  off_t position = 0;
  size_t size = 0;
  int64_t end_offset = 0;  // of the partition
};

class FloorStore {
 public:
  // Everything in `directory`, which exists. Throws std::system_error here and below.
  FloorStore(std::string directory, bool sync);
  ~FloorStore();
  FloorStore(const FloorStore&) = delete;

  // Writes a batch of so many records at the partition's end and returns its first offset, which is then also
  // in the batch. The partition is made on first use. With sync `batch` must stay as it is until commit().
  int64_t append(std::string_view topic, int32_t partition, MutableBytes batch, int32_t records);

  // Makes durable what was appended since the last time; only then is it found.
  void commit();

  // Batches from the one with `offset` on, at most max_bytes of them but at least one; size 0 when there are
  // none.
  StoredPart find(std::string_view topic, int32_t partition, int64_t offset, size_t max_bytes) const;

 private:
  struct Batch {
    int64_t end_offset;
    off_t end_position;
  };
  struct Partition {
    int fd = -1;
    std::vector<Batch> batches;
    size_t committed = 0;  // of the batches
    bool dirty = false;
  };
  using Topic = std::map<int32_t, Partition>;

  Partition& open(std::string_view topic, int32_t partition);
  void write_journal();

  const std::string directory_;
  const bool sync_;
  std::map<std::string, Topic, std::less<>> topics_;
  std::vector<Partition*> dirty_;
  std::vector<iovec> group_;  // the batches since the last commit
  size_t group_bytes_ = 0;
  int journal_ = -1;
  off_t journal_end_ = 0;
  std::unique_ptr<std::byte, decltype(&std::free)> block_{nullptr, &std::free};  // aligned
};

}  // namespace millrace::bench
