// What a handler answers: bytes in memory, with slices of files spliced in where the records belong. The
// slices go from the page cache to the socket (sendfile) and never through this process's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "storage/file_system.h"

namespace millrace::net {

struct Response {
  struct Splice {
    size_t at = 0;  // the slice goes before bytes[at]
    storage::FileSlice slice;
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
