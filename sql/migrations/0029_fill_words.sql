-- in-parts
-- Indexes the words of existing passages, 2,000 in each transaction, while searches go on; a writer waits
-- for one part. A process that ends meanwhile is resumed by the next. See fill_words in 0028.
SELECT fill_words(2000)
