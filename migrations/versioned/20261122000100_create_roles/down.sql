-- The roles belong to the cluster; another database may use them. They stay.
SELECT 1;
