/* SPDX-License-Identifier: MIT */
/*
 * Mappings of files and of shared memory: what mmap and the program loader ask of quire's sections.
 */
#include "process.h"
#include "vfs.h"

enum quire_status file_map(struct quire_space *space, vaddr_t *address,
                           const struct file_view *view, uint32_t flags)
{
    struct quire_section *section;

    if (store_section(&view->inode->as.store, &section))
        return QUIRE_NO_MEMORY;
    if (view->shared)
        flags |= QUIRE_MAP_SHARED | (view->read_only ? (uint32_t)QUIRE_MAP_READ_ONLY : 0);
    return quire_map_view(space, address, view->length, view->prot, flags, section, view->offset);
}

enum quire_status shared_map(struct quire_space *space, vaddr_t *address, uint64_t length,
                             uint32_t prot, uint32_t flags)
{
    struct quire_section *section;
    enum quire_status status = quire_section_create(quire, length, NULL, NULL, &section);

    if (status != QUIRE_OK)
        return status;
    status = quire_map_view(space, address, length, prot, flags | QUIRE_MAP_SHARED, section, 0);
    quire_section_close(section); /* the mappings keep it */
    return status;
}
