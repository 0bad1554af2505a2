// What a handler answers: bytes in memory, with slices of files spliced in where the records belong. The
// slices go from the page cache to the socket (sendfile) and never through this process's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::net {

// Bytes of an open file. `owner` keeps the descriptor open until the response is written, whatever is it that
// owns it (e.g. a std::shared_ptr<const storage::File>).
struct FileSlice {
  std::shared_ptr<const void> owner;
  int fd = -1;
  int64_t position = 0;
  size_t size = 0;
};

struct Response {
  struct Splice {
    size_t at = 0;  // the slice goes before bytes[at]
    FileSlice slice;
  };

  // From the response header (correlation id) on; the 4-byte length before it is the writer's.
  Buffer bytes;
  // By rising `at`, each at most bytes.size(); several may have the same `at`.
  std::vector<Splice> splices;
  // False: nothing is sent (Produce with acks=0); `bytes` and `splices` are ignored.
  bool send = true;
  // True: the connection is closed after this response; the reason goes to the log.
  bool close = false;
  std::string close_reason;

  // Nothing to send, and the connection ends: for requests that can't be answered.
  static Response closing(std::string reason) {
    Response response;
    response.send = false;
    response.close = true;
    response.close_reason = std::move(reason);
    return response;
  }
};

}  // namespace millrace::net
