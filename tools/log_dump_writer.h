// How `log dump` writes batches, records and index entries.
#pragma once

#include <string>
#include <string_view>

#include "storage/log_inspector.h"
#include "tools/record_format.h"

namespace millrace::tools {

// The head of a table of batches, and its lines; or one JSON object per line. `partition` is told of a
// journal's batches, and empty for a segment's.
std::string batch_table_head(bool has_partition);
std::string batch_line(const storage::BatchAt& at, std::string_view partition);
std::string batch_json(const std::string& file, const storage::BatchAt& at, std::string_view partition);

// A record of an inspected batch as what consume's formats write. `headers` holds what the result points to.
ConsumedRecord as_consumed(const protocol::RecordView& record, const storage::BatchAt& at,
                           std::string_view topic, int32_t partition, std::vector<HeaderView>& headers);

std::string index_table_head();
std::string index_line(const storage::IndexEntry& entry);
std::string index_json(const std::string& file, const storage::IndexEntry& entry);

}  // namespace millrace::tools
