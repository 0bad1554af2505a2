// What RocksDB gets in place of its own log file. RocksDB asserts that its log file can be written, so that
// one on a full disk would end the whole process; and what matters comes back as the status of a call.
#pragma once

#include <rocksdb/env.h>

#include <memory>

namespace millrace::storage {

inline std::shared_ptr<rocksdb::Logger> silent_database_logger() {
  class SilentLogger final : public rocksdb::Logger {
   public:
    using rocksdb::Logger::Logv;
    void Logv(const char*, va_list) override {}
  };
  return std::make_shared<SilentLogger>();
}

}  // namespace millrace::storage
